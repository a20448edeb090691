package httpapi

import (
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Module gives an fx application an *API. It needs what user.Module, auth.Module and link.Module give.
var Module = fx.Module("httpapi", fx.Provide(New))

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB       *database.DB
	Users    *user.Service
	Auth     *auth.Service
	Link     *link.Service
	Site     *web.Site        `optional:"true"` // nil: a site on plain http that trusts nobody
	Log      *slog.Logger     `optional:"true"` // nil: slog.Default
	Audit    *audit.Trail     `optional:"true"` // nil: nobody keeps one
	Webhooks *webhook.Service `optional:"true"` // nil: there are none
	Outbox   *outbox.Outbox   `optional:"true"` // nil: nobody looks into it here
	Program  Program          `optional:"true"` // nil: nobody learns how the server is in detail

	Options Options `optional:"true"`
}
