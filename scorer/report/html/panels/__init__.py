"""The panels of the report page, one module each: a function from the values of the panel to its markup."""
