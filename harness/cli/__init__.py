"""The command line, thin: parse, call, print, draw progress. Only this room prints."""
