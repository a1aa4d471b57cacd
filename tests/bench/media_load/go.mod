module mediaload

go 1.24
