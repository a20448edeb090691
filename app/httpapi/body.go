package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
	"github.com/latchkey-go/latchkey/modules/user"
)

var (
	errBody      = fault.New(fault.Invalid, "invalid_request", "Invalid request.")
	errTooLarge  = fault.New(fault.TooLarge, "body_too_large", "request entity too large")
	errMediaType = fault.New(fault.Unsupported, "media_type", "Send the body as application/json.")
)

// readObject reads the body, which must be a JSON object or nothing.
func readObject(c *call) ([]byte, strictjson.Object, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, strictjson.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, strictjson.Object{}, errTooLarge
	case err != nil:
		return nil, strictjson.Object{}, errBody.Msg("The request body could not be read to its end.")
	case len(data) == 0:
		return []byte("{}"), strictjson.Object{}, nil
	}
	if media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, strictjson.Object{}, errMediaType
	}
	object, err := strictjson.ParseObject(data)
	return data, object, err
}

// readBody reads the body into a struct whose fields are required or optional values, named by their json tags. What is
// wrong is said in Medusa's words, at most three things at a time; strings and lists that were sent are not repeated.
func readBody(c *call, into any) error {
	_, object, err := readObject(c)
	if err != nil {
		return err
	}
	var problems []string
	known := map[string]bool{}
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		known[name] = true
		raw, sent := object.Get(name)
		if p := v.Field(i).Addr().Interface().(field).read(name, raw, sent); p != "" { //nolint:errcheck // bodies are made of such fields only
			problems = append(problems, p)
		}
	}
	var unknown []string
	for _, name := range object.Names() {
		if !known[name] {
			unknown = append(unknown, "'"+clean(name)+"'")
		}
	}
	if len(unknown) > 0 {
		problems = append(problems, "Unrecognized fields: "+strings.Join(unknown[:min(len(unknown), 10)], ", "))
	}
	if len(problems) > 0 {
		return errBody.Msg("Invalid request: %s", strings.Join(problems[:min(len(problems), 3)], "; "))
	}
	return nil
}

// clean makes a member's name fit to be shown.
func clean(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	return name
}

// field is a field of a body that reads itself and says what is wrong with it.
type field interface {
	read(name string, raw []byte, sent bool) (problem string)
}

// value is what a field may hold.
type value interface {
	string | int | bool | []string | map[string]any
}

// required is a field that must be there.
type required[T value] struct{ value T }

func (f *required[T]) read(name string, raw []byte, sent bool) string {
	if !sent {
		return "Field '" + name + "' is required"
	}
	return decode(name, raw, &f.value)
}

// optional is a field that may be missing or null.
type optional[T value] struct {
	sent  bool
	value *T // nil: null
}

func (f *optional[T]) read(name string, raw []byte, sent bool) string {
	if f.sent = sent; !sent || string(raw) == "null" {
		return ""
	}
	f.value = new(T)
	return decode(name, raw, f.value)
}

// field is the change that the caller asks for.
func (f optional[T]) field() user.Field[T] {
	switch {
	case !f.sent:
		return user.Field[T]{}
	case f.value == nil:
		return user.Clear[T]()
	default:
		return user.Set(*f.value)
	}
}

// or is the value, or the zero value if it was not sent or null.
func (f optional[T]) or() (v T) {
	if f.value != nil {
		v = *f.value
	}
	return v
}

func decode[T value](name string, raw []byte, into *T) string {
	if strictjson.Unmarshal(raw, into) == nil && string(raw) != "null" {
		return ""
	}
	switch into := any(into).(type) {
	case *[]string: // is it the list that is wrong, or a member of it?
		var members []json.RawMessage
		if strictjson.Unmarshal(raw, &members) == nil {
			for i, member := range members {
				if p := decode(fmt.Sprintf("%s[%d]", name, i), member, new(string)); p != "" {
					return p
				}
			}
		}
	case *int: // so far they are seconds
		switch digits, negative := strings.CutPrefix(string(raw), "-"); {
		case strings.Trim(digits, "0123456789") == "" && negative:
			*into = math.MinInt
			return ""
		case strings.Trim(digits, "0123456789") == "":
			*into = math.MaxInt // it is too much, whoever wants it says for what
			return ""
		case strings.IndexByte("0123456789", digits[0]) >= 0:
			return "Field '" + name + "' must be a whole number of seconds"
		}
	}
	expected := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "number", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Map: "record"}[reflect.TypeFor[T]().Kind()]
	return "Expected type: '" + expected + "' for field '" + name + "', got: '" + got(raw) + "'"
}

// got shows what was sent as Medusa does, but for what may hold something that nobody should see in a log: strings, lists
// and numbers of more than three digits.
func got(raw []byte) string {
	switch {
	case len(raw) == 0:
		return "undefined"
	case raw[0] == '{':
		return "[object Object]"
	case raw[0] == '[':
		return "array"
	case raw[0] == '"':
		return "string"
	case len(raw) > 3 && strings.IndexByte("-0123456789", raw[0]) >= 0:
		return "number"
	default:
		return string(raw)
	}
}
