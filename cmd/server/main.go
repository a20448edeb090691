// Command server runs Latchkey. An application with providers of its own copies this file and adds them:
//
//	os.Exit(app.Main(os.Args[1:], fx.Provide(auth.AsProvider(card.New))))
package main

import (
	"os"

	"github.com/latchkey-go/latchkey/app"
)

func main() { os.Exit(app.Main(os.Args[1:])) }
