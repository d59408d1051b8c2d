module sallyport.example/bench/tunnels

go 1.24.0
