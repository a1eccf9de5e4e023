"""The programs of the demonstration. They are copied to the stage and run there as files."""
