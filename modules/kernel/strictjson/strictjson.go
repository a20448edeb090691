// Package strictjson is the one door by which JSON from outside comes in.
//
// JSON that two readers may read differently is refused, whatever it is for: a
// check made on one reading must hold for the other. Refused are, at any depth,
// duplicate names and names equal but for case, invalid UTF-8 and lone
// surrogates, U+0000 in a string or name (PostgreSQL cannot store it), numbers no
// float64 comes near, more than MaxDepth levels, and anything after the value.
//
//	ReadObject, ParseObject   a body: its members in order, each raw
//	Unmarshal                 a value into Go, unknown members ignored
//	UnmarshalStrict           a value into Go, unknown members refused
//
// Every refusal is a fault with a fixed text that repeats nothing of the input.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// Limits of what is read.
const (
	MaxBody  = 64 << 10 // bytes of a body, for ReadObject
	MaxDepth = 32       // objects and arrays inside each other, the outermost included

	maxNumber = 128 // characters of one number
)

// The refusals.
var (
	ErrMalformed = fault.New(fault.Invalid, "malformed_json", "The request body must be one well-formed JSON object.")
	ErrTooLarge  = fault.New(fault.TooLarge, "body_too_large", "The request body is too large: at most 64 KiB.")
	ErrWrongType = fault.New(fault.Invalid, "wrong_json_type", "A JSON value has another type than the one expected.")
	ErrUnknown   = fault.New(fault.Invalid, "unknown_json_member", "A JSON object has a member that is not expected.")
)

// Object is a JSON object's members, each kept raw. The zero value is an object
// without members. It is not changed once made, so it is safe for concurrent use.
type Object struct {
	names   []string
	members map[string][]byte
}

// Len is the number of members.
func (o Object) Len() int { return len(o.names) }

// Names returns the names of the members in the order they were written.
func (o Object) Names() []string { return append([]string(nil), o.names...) }

// Get returns the value of the member with exactly that name, without the space
// around it; ok is false if there is none. A member that is null is there, with
// the value `null`. The value has passed every check of this package; decode it
// with Unmarshal.
func (o Object) Get(name string) (value []byte, ok bool) {
	value, ok = o.members[name]
	return bytes.Clone(value), ok
}

// ReadObject reads the body of a request. A body of no bytes, or a nil reader, is
// an object without members; one of more than MaxBody bytes, or one that an
// http.MaxBytesReader cuts off, is ErrTooLarge; otherwise as ParseObject. Any
// other error is the reader's, wrapped.
func ReadObject(r io.Reader) (Object, error) {
	if r == nil {
		return Object{}, nil
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	var cut *http.MaxBytesError
	switch {
	case errors.As(err, &cut), len(data) > MaxBody:
		return Object{}, ErrTooLarge
	case err != nil:
		return Object{}, fmt.Errorf("read JSON body: %w", err)
	case len(data) == 0:
		return Object{}, nil
	}
	return ParseObject(data)
}

// ParseObject reads one JSON object. Everything else, an array, null and the
// empty text included, is ErrMalformed. The object keeps nothing of data.
func ParseObject(data []byte) (Object, error) {
	if err := check(data); err != nil {
		return Object{}, err
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	if dec.PeekKind() != '{' {
		return Object{}, ErrMalformed
	}
	if _, err := dec.ReadToken(); err != nil {
		return Object{}, ErrMalformed
	}
	o := Object{members: make(map[string][]byte)}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return Object{}, ErrMalformed
		}
		name := token.String() // before the next read overwrites it
		value, err := dec.ReadValue()
		if err != nil {
			return Object{}, ErrMalformed
		}
		o.names = append(o.names, name)
		o.members[name] = value.Clone()
	}
	return o, nil
}

// check makes every check of this package on one JSON value of any kind.
func check(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(data))
	if err := checkValue(dec, 0); err != nil {
		return ErrMalformed // whatever the decoder says quotes the input
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return ErrMalformed
	}
	return nil
}

// checkValue reads the next value, which lies inside depth others. Duplicate
// names, UTF-8 and surrogates are the decoder's own checks.
func checkValue(dec *jsontext.Decoder, depth int) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case '"':
		return checkString(token.String())
	case '0':
		return checkNumber(token.String())
	case '[', '{':
		if depth++; depth > MaxDepth {
			return ErrMalformed
		}
	default: // true, false, null
		return nil
	}

	if token.Kind() == '[' {
		for dec.PeekKind() != ']' {
			if err := checkValue(dec, depth); err != nil {
				return err
			}
		}
	} else if err := checkMembers(dec, depth); err != nil {
		return err
	}
	_, err = dec.ReadToken() // the closing one
	return err
}

func checkMembers(dec *jsontext.Decoder, depth int) error {
	seen := make(map[string]bool)
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		if err := checkString(name); err != nil {
			return err
		}
		folded := strings.Map(foldRune, name)
		if seen[folded] {
			return ErrMalformed
		}
		seen[folded] = true
		if err := checkValue(dec, depth); err != nil {
			return err
		}
	}
	return nil
}

func checkString(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return ErrMalformed
	}
	return nil
}

// checkNumber refuses what databases and other readers refuse or turn into
// infinity or zero, such as 1e999 and 1e-999.
func checkNumber(s string) error {
	if len(s) > maxNumber {
		return ErrMalformed
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return ErrMalformed
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(s), "e")
	if f == 0 && strings.ContainsAny(mantissa, "123456789") {
		return ErrMalformed
	}
	return nil
}

// foldRune maps all runes that differ in case only to one of them, as
// encoding/json does when it compares names: K, k and the Kelvin sign are one.
func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}
