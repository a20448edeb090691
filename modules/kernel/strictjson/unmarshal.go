package strictjson

import (
	stdjson "encoding/json"
	"errors"
	"reflect"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal reads one JSON value of any kind into v, after the same checks as
// ParseObject. Names must match exactly, case included; members that v does not
// know are ignored. The errors are ErrMalformed and, where a value is not of v's
// type, ErrWrongType; v may be half filled then.
//
// It differs from encoding/json in two more ways. A null is ErrWrongType where the
// Go type cannot hold it: only pointers, maps, slices, interfaces and types that
// decode themselves take one. And a number read into an any is a json.Number of
// encoding/json, so that free-form data encoded again with encoding/json has the
// same digits, however many.
func Unmarshal(data []byte, v any) error { return unmarshal(data, v, false) }

// UnmarshalStrict is Unmarshal, but a member that v does not know is ErrUnknown.
func UnmarshalStrict(data []byte, v any) error { return unmarshal(data, v, true) }

func unmarshal(data []byte, v any, strict bool) error {
	if err := check(data); err != nil {
		return err
	}
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(strict), json.WithUnmarshalers(unmarshalers))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, json.ErrUnknownName):
		return ErrUnknown
	default:
		return ErrWrongType // its own text quotes input and Go types
	}
}

var (
	unmarshalers = json.JoinUnmarshalers(
		json.UnmarshalFromFunc(numberIntoAny),
		json.UnmarshalFromFunc(refuseNull),
	)
	errNull = errors.New("null")
)

func numberIntoAny(dec *jsontext.Decoder, v *any) error {
	if dec.PeekKind() != '0' || *v != nil { // a value in v says which type it wants
		return errors.ErrUnsupported
	}
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	*v = stdjson.Number(token.String())
	return nil
}

// refuseNull sees every value of every type, as a pointer to where it goes.
func refuseNull(dec *jsontext.Decoder, v any) error {
	if dec.PeekKind() != 'n' {
		return errors.ErrUnsupported
	}
	switch v.(type) {
	case *time.Time:
		return errNull
	case json.Unmarshaler, json.UnmarshalerFrom:
		return errors.ErrUnsupported
	}
	switch reflect.TypeOf(v).Elem().Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		return errors.ErrUnsupported
	default:
		return errNull
	}
}
