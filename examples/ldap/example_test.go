package ldap_test

import (
	"fmt"
	"log"

	"github.com/latchkey-go/latchkey/examples/ldap"
)

// The settings of a directory say all that is wrong with them before anything starts.
func ExampleNew() {
	_, err := ldap.New("corp", ldap.Config{URL: "ldap://ldap.example.com", BaseDN: "dc=example,dc=com", NoTLS: true})
	fmt.Println(err)

	corp, err := ldap.New("corp", ldap.Config{URL: "ldaps://ldap.example.com", BaseDN: "dc=example,dc=com", TrustedDomains: []string{"example.com"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(corp.Name(), corp.DisplayName())
	// Output:
	// auth.providers.corp.no_tls: is only for ldap:// on this machine: everybody's password would travel in clear
	// corp corp
}
