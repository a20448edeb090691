package mail

import (
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Module gives an fx application a *Mailer, whose consumers it adds to the outbox of outbox.Module.
var Module = fx.Module("mail",
	fx.Provide(New),
	fx.Invoke(func(o *outbox.Outbox, m *Mailer) error {
		consumers := m.Consumers()
		if len(consumers) == 0 {
			o.Retire(ConsumerName)
		}
		return o.Register(consumers...)
	}),
)

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	Users   *user.Service
	Auth    *auth.Service
	Options Options      `optional:"true"`
	Log     *slog.Logger `optional:"true"` // nil: slog.Default
}
