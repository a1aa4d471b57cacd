"""The STS service: fragments in, dubbed speech out, behind the contract in `livedub.sts.contract`."""
