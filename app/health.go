package app

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// modulePath is the module that this package belongs to.
const modulePath = "github.com/latchkey-go/latchkey"

// newProgram says of the program what the API cannot know: how it was built, what its migrations are, and how it sends mails.
func newProgram(c *Config, db *database.DB, mails mail.Options, own []ownMigrations) httpapi.Program {
	about := httpapi.About{StartedAt: time.Now(), Mail: httpapi.MailAbout{Consumer: mail.ConsumerName}}
	if info, ok := debug.ReadBuildInfo(); ok {
		about.Version, about.Revision, about.Go = built(info)
	}
	switch driver := c.Mail.driver(c.Production()); {
	case mails.Sender == nil:
	case driver == "none":
		about.Mail.Driver = "own" // the program's, by mail.Options
	default:
		about.Mail.Driver = driver
	}
	all := slices.Concat(Migrations(), slices.Concat(own...))
	return func(ctx context.Context) (httpapi.About, error) {
		now := about
		var err error
		now.Migrations, err = db.MigrationStatus(ctx, all...)
		return now, err
	}
}

// built is which version of this module a program was built from, of which revision if it is this module's own, and by which Go.
func built(info *debug.BuildInfo) (version, revision, by string) {
	of := info.Main
	if i := slices.IndexFunc(info.Deps, func(d *debug.Module) bool { return d.Path == modulePath }); i >= 0 {
		of = *info.Deps[i]
	}
	for of.Replace != nil {
		of = *of.Replace
	}
	if version = of.Version; version == "(devel)" {
		version = ""
	}
	if info.Main.Path == modulePath {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value + revision
			case s.Key == "vcs.modified" && s.Value == "true":
				revision += "+dirty"
			}
		}
	}
	return version, revision, info.GoVersion
}
