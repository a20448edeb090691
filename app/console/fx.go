package console

import (
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Module gives an fx application a *Console. It needs what user.Module, auth.Module and link.Module give.
var Module = fx.Module("console", fx.Provide(New))

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	Users *user.Service
	Auth  *auth.Service
	Link  *link.Service
	Site  *web.Site    `optional:"true"` // nil: a site on plain http that trusts nobody
	Log   *slog.Logger `optional:"true"` // nil: slog.Default
	Audit *audit.Trail `optional:"true"` // nil: nobody keeps one

	API     *httpapi.API `optional:"true"` // nil: there are no pages that ask it, which are those for who has an account
	Mailbox Mailbox      `optional:"true"` // for development; nil: nobody reads other people's mails
	Options Options      `optional:"true"`

	Passwords auth.PasswordOptions `optional:"true"` // what the pages say of a password to be chosen
}
