package microsoft

import (
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Module gives an fx application the type microsoft: a provider for each section of its settings that says type: microsoft, or is called so.
var Module = fx.Module("microsoft", fx.Provide(auth.AsProviderType(provideType)))

type params struct {
	fx.In

	Log *slog.Logger `optional:"true"`
}

func provideType(p params) auth.ProviderType { return Type(p.Log) }
