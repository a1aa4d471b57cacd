module mediaputpeer

go 1.24
