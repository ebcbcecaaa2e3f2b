"""What happened: typed records, the recorder, JSON Lines. Imported by every machine, driven by nobody."""
