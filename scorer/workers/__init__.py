"""Several processes on one run: one broker shares rows, rates and budget among workers. Imports build; never job."""
