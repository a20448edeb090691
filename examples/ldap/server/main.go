// Server is the whole server, with sign-in by directories. In a repository of your own it is these lines, and in config.yaml
//
//	auth:
//	  providers:
//	    corp: {type: ldap, url: "ldaps://ldap.example.com", base_dn: "dc=example,dc=com", bind_dn: "cn=latchkey,dc=example,dc=com",
//	      bind_password: "file:/run/secrets/ldap", trusted_domains: [example.com]}
//	link: {actors: {user: {providers: [emailpass, corp]}}}
package main

import (
	"os"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/examples/ldap"
	"github.com/latchkey-go/latchkey/modules/auth"
)

func main() {
	os.Exit(app.Main(os.Args[1:], fx.Provide(auth.AsProviderType(ldap.Type))))
}
