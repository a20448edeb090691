package forge_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) { databasetest.Main(m) }
