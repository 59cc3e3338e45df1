"""The commands on models alone: fetching, number formats, what quantizing loses."""
