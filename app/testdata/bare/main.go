// Command bare is the least that a server can be: what a start and its memory are compared with.
package main

import (
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"status":"ok"}`)) })
	if err := http.ListenAndServe(os.Getenv("LATCHKEY_HTTP_ADDR"), nil); err != nil {
		panic(err)
	}
}
