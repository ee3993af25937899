"""One module per third-party client. May not know what it is used for."""
