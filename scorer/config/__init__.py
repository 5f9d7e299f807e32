"""The run file, checked: models, loader, messages, prices. Imports only types, errors and usage."""
