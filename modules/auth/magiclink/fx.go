package magiclink

import (
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Module gives an fx application the provider, with its settings from the section auth.providers.magiclink if there are any.
var Module = fx.Module("magiclink", fx.Provide(auth.AsProvider(provide)))

type params struct {
	fx.In

	Mailings *auth.Mailings
	Options  Options       `optional:"true"`
	Settings auth.Settings `optional:"true"`
}

func provide(p params) (*Provider, error) {
	var config Config
	if err := p.Settings.Decode(Name, &config); err != nil {
		return nil, err
	}
	return New(p.Mailings, config, p.Options)
}
