"""Everything that is changed about moto 5.2.5: one module per service, one list of it all (`ALL`)."""
