package auth

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"

	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// Settings are the sections auth.providers.<id> of a configuration, by provider. A provider's constructor asks for its
// own, so that a third party's provider has settings too. The zero value has none.
type Settings map[string]map[string]any

// Decode reads the provider's section into a struct, whose fields name their keys by the tag config; what the section
// does not mention keeps its value, which must not be the zero one if the tag goes on with ",required", and a field with the tag - has
// no key. With ",https" a text, or each of a list, is empty or an address that package outward asks; with ",url" that may also be one in one's own network, by
// http. Texts are read as numbers, switches, durations and comma-separated lists where the struct wants those, because from the
// environment everything comes as text. What the section gets wrong, such as a key
// that no field names, is a *SettingsError, or several joined: see SettingsErrors.
func (s Settings) Decode(provider string, into any) error {
	wrong, unknown, err := decode(s[provider], into)
	if err != nil {
		return fmt.Errorf("auth.providers.%s: %w", provider, err)
	}
	if len(wrong) > 0 { // which keeps the unknown from being found
		rest := maps.Clone(s[provider])
		for _, name := range wrong {
			name, _, _ = strings.Cut(strings.ReplaceAll(name, "[", "."), ".") // of what is wrong inside of it
			delete(rest, name)
		}
		_, unknown, _ = decode(rest, into)
	}
	var errs []error
	if len(wrong) > 0 {
		errs = append(errs, settingsError("the value has the wrong type", provider, wrong...))
	}
	if len(unknown) > 0 {
		errs = append(errs, settingsError("the provider knows no such setting", provider, unknown...))
	}
	if absent := slices.DeleteFunc(missing(into), func(name string) bool { return slices.Contains(wrong, name) }); len(absent) > 0 {
		errs = append(errs, settingsError("must be set", provider, absent...))
	}
	walk(reflect.ValueOf(into), "", func(name string, options []string, value reflect.Value) {
		if what := badAddress(options, value); what != nil && !slices.Contains(wrong, name) {
			errs = append(errs, settingsError(what.Error(), provider, name))
		}
	})
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// decode reads a section, and returns the names of the settings that have the wrong type and, if there is none, of those that
// no field has.
func decode(section map[string]any, into any) (wrong, unknown []string, err error) {
	var seen mapstructure.Metadata
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		TagName: "config", WeaklyTypedInput: true, Metadata: &seen, Result: into,
		MatchName:  func(key, field string) bool { return key == field },
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), splitList),
	})
	if err != nil {
		return nil, nil, err
	}
	_, dash := section["-"] // which mapstructure takes for a name
	if dash {
		section = maps.Clone(section)
		delete(section, "-")
	}
	wrong = wrongNames(decoder.Decode(section)) // whose text may show the value, and values may be secret
	if dash {
		seen.Unused = append(seen.Unused, "-")
	}
	slices.Sort(seen.Unused)
	return wrong, seen.Unused, nil
}

// missing are the names of the required settings that nothing has set.
func missing(into any) (names []string) {
	walk(reflect.ValueOf(into), "", func(name string, options []string, value reflect.Value) {
		if slices.Contains(options, "required") && value.IsZero() {
			names = append(names, name)
		}
	})
	return names
}

// badAddress says what is wrong with a setting that is to be an address; nil: nothing, or it is to be none.
func badAddress(options []string, value reflect.Value) error {
	private := slices.Contains(options, "url")
	if !private && !slices.Contains(options, "https") {
		return nil
	}
	texts, many := value.Interface().([]string)
	if !many && value.Kind() == reflect.String {
		texts = []string{value.String()}
	}
	for _, text := range texts {
		if text == "" {
			continue
		}
		if err := outward.CheckURL(text, outward.Options{PrivateAddresses: private}); err != nil {
			return err
		}
	}
	return nil
}

// walk calls f for every setting of a struct, and of structs inside of it. The options are what the tag goes on with.
func walk(v reflect.Value, section string, f func(name string, options []string, value reflect.Value)) {
	if v = reflect.Indirect(v); v.Kind() != reflect.Struct {
		return
	}
	for field, value := range v.Fields() {
		options := strings.Split(field.Tag.Get("config"), ",")
		name := section + cmp.Or(options[0], field.Name)
		switch {
		case options[0] == "-" || !field.IsExported():
		case slices.Contains(options[1:], "squash"):
			walk(value, section, f)
		default:
			f(name, options[1:], value)
			required := slices.Contains(options[1:], "required") && value.IsZero()
			if options[0] != "" && !required { // what is not a setting may be anything, such as a client
				walk(value, name+".", f)
			}
		}
	}
}

// wrongNames are the settings that could not be read, once each; the section itself is the name "".
func wrongNames(err error) (names []string) {
	if err == nil {
		return nil
	}
	each(err, func(wrong *mapstructure.DecodeError) { names = append(names, wrong.Name()) })
	if len(names) == 0 {
		return []string{""}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// each calls f for every error of the type that err is or joins.
func each[E error](err error, f func(E)) {
	if found, ok := err.(E); ok { // not errors.As, which finds one of several
		f(found)
		return
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		each(err.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, one := range err.Unwrap() {
			each(one, f)
		}
	}
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
		e.Keys = append(e.Keys, strings.TrimSuffix("auth.providers."+provider+"."+name, "."))
	}
	return e
}

// SettingsErrors are all that err is made of.
func SettingsErrors(err error) (all []*SettingsError) {
	each(err, func(e *SettingsError) { all = append(all, e) })
	return all
}

func (e *SettingsError) Error() string { return strings.Join(e.Keys, ", ") + ": " + e.What }

var splitList = mapstructure.StringToSliceHookFunc(",")

// check refuses a section that no provider reads: a typo there would silently change how people sign in.
func (s Settings) check(providers map[string]Provider) error {
	for name := range s {
		if providers[name] == nil {
			if s[name]["type"] != nil {
				return settingsError("there is no such type of provider", name, "type")
			}
			return fmt.Errorf("auth.providers.%s: there is no such provider", name)
		}
	}
	return nil
}
