"""The first steps of a third party: an installable package for each kind of plugin, written by `guardeval new`."""
