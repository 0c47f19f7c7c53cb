"""AWS's protocols over the embedded engine: a translator. No rule of a queue lives here."""
