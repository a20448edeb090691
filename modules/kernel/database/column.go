package database

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
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
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
