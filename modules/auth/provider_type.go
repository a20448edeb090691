package auth

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// ProviderType makes providers of which there can be any number, each with a section of its own:
//
//	auth.providers:
//	  okta:   {type: oidc, issuer: https://example.okta.com, …}
//	  google: {type: oidc, issuer: https://accounts.google.com, …}
//
// A section that is called as the type itself need not say it.
type ProviderType struct {
	Name string // what a section says for type

	// New makes the provider of that id, which its Name must return, from its settings, which have the key type no more. It
	// asks nobody else: what cannot be reached now may be there later, and a Reporter says so. What is wrong with the settings is
	// a *SettingsError for each setting, joined, so that all is said at once.
	New func(id string, settings Settings) (Provider, error)
}

// NewProviders makes the providers of the sections that name one of the types. Other sections are for providers that are
// made otherwise; New, with the same Settings, refuses those that are for none. The error joins all that is wrong with any of them.
func NewProviders(s Settings, types ...ProviderType) (made []Provider, err error) {
	var errs []error
	for _, p := range makeTyped(s, types) {
		if wrong := ProviderFault(p); wrong != nil {
			errs = append(errs, wrong)
			continue
		}
		made = append(made, p)
	}
	return made, errors.Join(errs...)
}

// makeTyped is NewProviders with a faulty provider in place of each that could not be made, so that who checks the rest of a
// configuration knows that it was meant to be there.
func makeTyped(s Settings, types []ProviderType) (made []Provider) {
	known := map[string]ProviderType{}
	for _, t := range types {
		known[t.Name] = t
	}
	for _, id := range slices.Sorted(maps.Keys(s)) {
		section := maps.Clone(s[id])
		name, said := section["type"]
		if !said {
			name = id
		}
		text, _ := name.(string)
		t, ok := known[text]
		if !ok {
			continue // a provider that is made otherwise, whose type is its own business; or nobody's, as Settings.check says
		}
		delete(section, "type")
		p, err := t.New(id, Settings{id: section})
		if err != nil {
			p = faulty{id, err}
		}
		made = append(made, p)
	}
	return made
}

// faulty stands for a provider that could not be made. New refuses it.
type faulty struct {
	id  string
	err error
}

func (f faulty) Name() string { return f.id }

func (f faulty) Authenticate(context.Context, Attempt) (Assertion, error) { return Assertion{}, f.err }

// ProviderFault says why the provider could not be made from its settings; nil: it was. New says the same of all at once.
func ProviderFault(p Provider) error {
	if f, ok := p.(faulty); ok {
		return f.err
	}
	return nil
}
