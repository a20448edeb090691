package httpapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// attribute is a member that an object may show.
type attribute[T any] struct {
	name   string
	hidden bool // shown only if asked for
	get    func(T) any
}

// object is an answer's JSON object, with its members in their order.
type object []pair

type pair struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	buf.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			buf.WriteByte(',')
		}
		name, _ := json.Marshal(m.name)
		buf.Write(append(name, ':'))
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
		buf.Truncate(buf.Len() - 1) // the encoder's newline
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// show makes the object of v with the chosen attributes.
func show[T any](v T, attributes []attribute[T]) object {
	o := make(object, len(attributes))
	for i, a := range attributes {
		o[i] = pair{a.name, a.get(v)}
	}
	return o
}

// readFields reads the parameter fields of a request that takes no other. Read it before anything is done: a request is
// refused as a whole.
func readFields[T any](c *call, all []attribute[T]) ([]attribute[T], error) {
	q, err := readQuery(c, "fields")
	return choose(all, q["fields"]), err
}

// choose reads the parameter fields: names replace what is shown by default, +name adds (also where the + was read as a
// space, as query strings have it), -name takes away, * is the default. Unknown names are passed over, and the id is
// always there.
func choose[T any](all []attribute[T], fields string) []attribute[T] {
	var defaults []attribute[T]
	for _, a := range all {
		if !a.hidden {
			defaults = append(defaults, a)
		}
	}
	if fields == "" {
		return defaults
	}
	named := func(name string) func(attribute[T]) bool { return func(a attribute[T]) bool { return a.name == name } }
	items := strings.Split(fields, ",")
	var chosen []attribute[T]
	if !slices.ContainsFunc(items, func(s string) bool {
		return strings.TrimSpace(s) != "" && !strings.ContainsRune("+- ", rune(s[0]))
	}) {
		chosen = slices.Clone(defaults)
	}
	add := func(more ...attribute[T]) {
		for _, a := range more {
			if !slices.ContainsFunc(chosen, named(a.name)) {
				chosen = append(chosen, a)
			}
		}
	}
	for _, item := range items {
		item = strings.TrimSpace(item)
		switch name := strings.TrimLeft(item, "+-"); {
		case item == "*":
			add(defaults...)
		case strings.HasPrefix(item, "-"):
			chosen = slices.DeleteFunc(chosen, named(name))
		default:
			if i := slices.IndexFunc(all, named(name)); i >= 0 {
				add(all[i])
			}
		}
	}
	add(all[slices.IndexFunc(all, named("id"))])
	return chosen
}

// stamp writes a time as Medusa does: ISO 8601, UTC, milliseconds; the zero time is null.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// text writes an empty string as null.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// record writes an empty map as it is and none as null.
func record(m map[string]any) any {
	if m == nil {
		return nil
	}
	return m
}
