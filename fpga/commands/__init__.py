"""The commands that build bitstreams and talk to boards."""
