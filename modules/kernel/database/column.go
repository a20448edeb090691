package database

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
)

// Object is a JSON object in a column; nil is NULL. Numbers are float64, as encoding/json reads them.
type Object map[string]any

// Value writes the object as JSON text, which both databases take.
func (o Object) Value() (driver.Value, error) {
	if o == nil {
		return nil, nil
	}
	return jsonText(o)
}

// Scan reads what Value wrote.
func (o *Object) Scan(src any) error { *o = nil; return scanJSON(src, (*map[string]any)(o)) }

// Merge returns o with the changes of an update, which are Medusa's: at the top level a key set to "" is removed, and every
// other value replaces the one before. Neither argument changes.
func (o Object) Merge(with map[string]any) Object {
	merged := make(Object, len(o)+len(with))
	maps.Copy(merged, o)
	for k, v := range with {
		if v == "" {
			delete(merged, k)
		} else {
			merged[k] = v
		}
	}
	return merged
}

// Checked returns o as both databases will give it back. If they would not, or if it is more than so many bytes of JSON,
// the error says what it must be instead: its text goes on from the name of the column.
func (o Object) Checked(most int) (clean Object, err error) {
	if o == nil {
		return nil, nil
	}
	data, err := json.Marshal(o)
	if err != nil {
		return nil, errNoJSON
	}
	if len(data) > most {
		return nil, fmt.Errorf("must be at most %d bytes of JSON", most)
	}
	// These escapes stand for themselves once no escaped backslash is left. The second is what became of bytes that
	// are no text.
	if text := strings.ReplaceAll(string(data), `\\`, ""); strings.Contains(text, `\u0000`) || strings.Contains(text, `\ufffd`) {
		return nil, errors.New("must be valid UTF-8 without NUL characters")
	}
	if err := json.Unmarshal(data, &clean); err != nil { // a number beyond float64
		return nil, errNoJSON
	}
	return clean, nil
}

var errNoJSON = errors.New("must be made of JSON values")

// Strings is a JSON array of strings in a column; nil is an empty one.
type Strings []string

// Value writes the array as JSON text, which both databases take.
func (s Strings) Value() (driver.Value, error) {
	if s == nil {
		s = Strings{}
	}
	return jsonText(s)
}

// Scan reads what Value wrote.
func (s *Strings) Scan(src any) error { *s = nil; return scanJSON(src, (*[]string)(s)) }

func jsonText(v any) (driver.Value, error) {
	data, err := json.Marshal(v)
	return withoutNUL.Replace(string(data)), err
}

// withoutNUL replaces U+0000, which PostgreSQL cannot store, by the replacement character. What comes from callers was
// refused long before; this is for what a provider says of somebody.
var withoutNUL = strings.NewReplacer(`\\`, `\\`, `\u0000`, "\ufffd")

func scanJSON(src, into any) error {
	switch src := src.(type) {
	case nil:
		return nil
	case []byte:
		return json.Unmarshal(src, into)
	case string:
		return json.Unmarshal([]byte(src), into)
	default:
		return fmt.Errorf("a JSON column holds %T", src)
	}
}

// UTC undoes the local zone that the PostgreSQL driver puts on what it reads; the zero time stays zero.
func UTC(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// Touched reports whether a statement changed any row.
func Touched(res sql.Result, err error) (bool, error) {
	n, err := Affected(res, err)
	return n > 0, err
}

// Affected is how many rows a statement changed.
func Affected(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
