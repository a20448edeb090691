package emailpass

import (
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Module gives an fx application the provider, with its settings from the section auth.providers.emailpass if there are any.
var Module = fx.Module("emailpass", fx.Provide(auth.AsProvider(provide)))

type params struct {
	fx.In

	Passwords *auth.Passwords
	Settings  auth.Settings `optional:"true"`
}

func provide(p params) (*Provider, error) {
	var config Config
	if err := p.Settings.Decode(Name, &config); err != nil {
		return nil, err
	}
	return New(p.Passwords, config), nil
}
