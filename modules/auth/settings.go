package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
)

// Settings are the sections auth.providers.<id> of a configuration, by provider. A provider's constructor asks for its
// own, so that a third party's provider has settings too. The zero value has none.
type Settings map[string]map[string]any

// Decode reads the provider's section into a struct, whose fields name their keys by the tag config; what the section
// does not mention keeps its value. Texts are read as numbers, switches, durations and comma-separated lists where the
// struct wants those, because from the environment everything comes as text. What the section gets wrong, such as a key
// that no field names, is a *SettingsError.
func (s Settings) Decode(provider string, into any) error {
	var seen mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		TagName: "config", WeaklyTypedInput: true, Metadata: &seen, Result: into,
		MatchName:  func(key, field string) bool { return key == field },
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), splitList),
	})
	if err != nil {
		return fmt.Errorf("auth.providers.%s: %w", provider, err)
	}
	err = decoder.Decode(s[provider])
	var wrong *mapstructure.DecodeError
	switch {
	case errors.As(err, &wrong): // its text may show the value, and values may be secret
		return settingsError("the value has the wrong type", provider, wrong.Name())
	case err != nil:
		return &SettingsError{Keys: []string{"auth.providers." + provider}, What: "a value has the wrong type"}
	case len(seen.Unused) > 0:
		slices.Sort(seen.Unused)
		return settingsError("the provider knows no such setting", provider, seen.Unused...)
	}
	return nil
}

// SettingsError says that settings of a provider are wrong, so that whoever reads the configuration can say where they
// were set.
type SettingsError struct {
	Keys []string // of the configuration, such as auth.providers.emailpass.display_name
	What string   // what is wrong with each of them; never a value
}

func settingsError(what, provider string, names ...string) error {
	e := &SettingsError{What: what}
	for _, name := range names {
		e.Keys = append(e.Keys, "auth.providers."+provider+"."+name)
	}
	return e
}

func (e *SettingsError) Error() string { return strings.Join(e.Keys, ", ") + ": " + e.What }

var splitList = mapstructure.StringToSliceHookFunc(",")

// check refuses a section that no provider reads: a typo there would silently change how people sign in.
func (s Settings) check(providers map[string]Provider) error {
	for name := range s {
		if providers[name] == nil {
			return fmt.Errorf("auth.providers.%s: there is no such provider", name)
		}
	}
	return nil
}
