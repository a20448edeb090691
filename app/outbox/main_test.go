package outbox_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) {
	if from := os.Getenv(consumeFrom); from != "" {
		if err := consume(from, os.Getenv(consumeTo)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	databasetest.Main(m)
}
