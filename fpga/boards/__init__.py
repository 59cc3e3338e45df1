"""The boards that bitstreams are built for, one file each."""
