"""Lambda functions, a folder each: parse, call one function of livedub, answer."""
