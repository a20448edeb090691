package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
)

func TestMembersKeepTheirOrderAndTheirBytes(t *testing.T) {
	o, err := strictjson.ParseObject([]byte(` { "zeta" : 1.50 , "al\u0070ha":"\u00e9", "n": null, "deep": { "b" : [1, 2] } } `))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := o.Names(), []string{"zeta", "alpha", "n", "deep"}; !slices.Equal(got, want) || o.Len() != len(want) {
		t.Errorf("names %q (%d), want %q", got, o.Len(), want)
	}
	for name, want := range map[string]string{"zeta": `1.50`, "alpha": `"\u00e9"`, "n": `null`, "deep": `{ "b" : [1, 2] }`} {
		if got, ok := o.Get(name); !ok || string(got) != want {
			t.Errorf("member %s: %s, %v, want %s", name, got, ok, want)
		}
	}
	if got, ok := o.Get("Zeta"); ok {
		t.Errorf("member Zeta: %s, want none: names are exact", got)
	}
}

func TestObjectSharesNothingWithItsReader(t *testing.T) {
	data := []byte(`{"a":"x"}`)
	o, err := strictjson.ParseObject(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = '!'
	}
	got, _ := o.Get("a")
	copy(got, "???")
	if again, _ := o.Get("a"); string(again) != `"x"` {
		t.Errorf("member a: %s, want \"x\"", again)
	}
	o.Names()[0] = "b"
	if o.Names()[0] != "a" {
		t.Errorf("names %q, want [a]", o.Names())
	}
}

func TestZeroObjectIsEmpty(t *testing.T) {
	var o strictjson.Object
	if _, ok := o.Get("a"); ok || o.Len() != 0 || len(o.Names()) != 0 {
		t.Error("the zero Object has members")
	}
}

// malformed are no JSON for anybody here, whatever they are decoded into.
var malformed = map[string]string{
	"empty":                            ``,
	"only space":                       " \n",
	"cut off":                          `{"a":1`,
	"trailing data":                    `{"a":1} x`,
	"two objects":                      `{"a":1}{"a":2}`,
	"trailing comma":                   `{"a":1,}`,
	"comment":                          `{"a":1/**/}`,
	"single quotes":                    `{'a':1}`,
	"bare name":                        `{a:1}`,
	"NaN":                              `{"a":NaN}`,
	"leading zero":                     `{"a":01}`,
	"hexadecimal":                      `{"a":0x1}`,
	"byte order mark":                  "\ufeff{}",
	"duplicate name":                   `{"a":1,"a":1}`,
	"duplicate name, escaped":          `{"a":1,"\u0061":1}`,
	"duplicate name, deep":             `{"m":{"x":[{"a":1,"a":2}]}}`,
	"case-fold duplicate":              `{"email":1,"Email":2}`,
	"case-fold duplicate, deep":        `{"m":[{"a":1,"A":2}]}`,
	"case-fold duplicate, Kelvin sign": "{\"k\":1,\"\u212a\":2}",
	"case-fold duplicate, long s":      `{"s":1,"ſ":2}`,
	"invalid UTF-8":                    "{\"a\":\"\xff\"}",
	"invalid UTF-8 in name":            "{\"\xff\":1}",
	"overlong UTF-8":                   "{\"a\":\"\xc0\x80\"}",
	"surrogate as UTF-8":               "{\"a\":\"\xed\xa0\x80\"}",
	"lone high surrogate":              `{"a":"\ud800"}`,
	"lone low surrogate":               `{"a":"\udc00"}`,
	"lone surrogate in name":           `{"\ud800":1}`,
	"swapped surrogates":               `{"a":"\udc00\ud800"}`,
	"raw control character":            "{\"a\":\"\x01\"}",
	"raw NUL":                          "{\"a\":\"\x00\"}",
	"NUL":                              `{"a":"x\u0000y"}`,
	"NUL in name":                      `{"a\u0000":1}`,
	"NUL, deep":                        `{"a":[[{"b":"\u0000"}]]}`,
	"NUL after the value":              "{}\x00",
	"33 objects":                       strings.Repeat(`{"a":`, 33) + `1` + strings.Repeat(`}`, 33),
	"33 levels of arrays":              `{"a":` + strings.Repeat(`[`, 32) + strings.Repeat(`]`, 32) + `}`,
	"a million levels, cut off":        `{"a":` + strings.Repeat(`[`, 1_000_000),
	"number beyond float64":            `{"a":1e999}`,
	"number that is almost zero":       `{"a":-1.5E-999}`,
	"number of 129 digits":             `{"a":` + strings.Repeat("9", 129) + `}`,
}

func TestMalformedJSONIsRefusedWithOneText(t *testing.T) {
	for name, in := range malformed {
		_, err := strictjson.ParseObject([]byte(in))
		wantErr(t, "ParseObject, "+name, err, strictjson.ErrMalformed)
		var v any
		wantErr(t, "Unmarshal, "+name, strictjson.Unmarshal([]byte(in), &v), strictjson.ErrMalformed)
		wantErr(t, "UnmarshalStrict, "+name, strictjson.UnmarshalStrict([]byte(in), &v), strictjson.ErrMalformed)
		if in != "" {
			_, err = strictjson.ReadObject(strings.NewReader(in[:min(len(in), strictjson.MaxBody)]))
			wantErr(t, "ReadObject, "+name, err, strictjson.ErrMalformed)
		}
	}
}

func TestOnlyAnObjectIsABody(t *testing.T) {
	for _, in := range []string{`[]`, `[{"a":1}]`, `null`, `true`, `1`, `"a"`} {
		_, err := strictjson.ParseObject([]byte(in))
		wantErr(t, in, err, strictjson.ErrMalformed)
	}
}

func TestUnusualButUnambiguousJSONIsAccepted(t *testing.T) {
	for name, in := range map[string]string{
		"no members":            `{}`,
		"empty name":            `{"":1}`,
		"pair of surrogates":    `{"a":"\ud83d\ude00"}`,
		"other case, elsewhere": `{"a":{"A":1},"b":{"A":2}}`,
		"32 objects":            strings.Repeat(`{"a":`, 32) + `1` + strings.Repeat(`}`, 32),
		"number of 128 digits":  `{"a":` + strings.Repeat("9", 128) + `}`,
		"zeros":                 `{"a":[0,-0,0.0,0e999,0E-999]}`,
		"least float64":         `{"a":5e-324}`,
		"U+FFFD":                `{"a":"\ufffd"}`,
		"backslash u0000":       `{"a":"\\u0000"}`,
	} {
		if _, err := strictjson.ParseObject([]byte(in)); err != nil {
			t.Errorf("%s: %v, want it accepted", name, err)
		}
	}
}

func TestBodyMayBeEmptyButNotTooLarge(t *testing.T) {
	full := []byte(`{"a":"` + strings.Repeat("x", strictjson.MaxBody-len(`{"a":""}`)) + `"}`)
	over := append([]byte(" "), full...)
	for _, r := range []io.Reader{nil, http.NoBody, strings.NewReader("")} {
		if o, err := strictjson.ReadObject(r); err != nil || o.Len() != 0 {
			t.Errorf("body %v: %v members, %v, want none", r, o.Len(), err)
		}
	}
	if o, err := strictjson.ReadObject(bytes.NewReader(full)); err != nil || o.Len() != 1 {
		t.Errorf("body of %d: %v members, %v, want 1", len(full), o.Len(), err)
	}
	_, err := strictjson.ReadObject(bytes.NewReader(over))
	wantErr(t, "a byte over", err, strictjson.ErrTooLarge)
	_, err = strictjson.ReadObject(io.MultiReader(bytes.NewReader(over), iotest.ErrReader(errors.New("read too far"))))
	wantErr(t, "more than is read", err, strictjson.ErrTooLarge)
	limited := http.MaxBytesReader(httptest.NewRecorder(), io.NopCloser(bytes.NewReader(over)), strictjson.MaxBody)
	_, err = strictjson.ReadObject(limited)
	wantErr(t, "cut off by http.MaxBytesReader", err, strictjson.ErrTooLarge)

	broken := errors.New("connection reset")
	if _, err := strictjson.ReadObject(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v, want %v", err, broken)
	}
}

type person struct {
	Email string          `json:"email"`
	Age   int             `json:"age"`
	Nick  *string         `json:"nick"`
	Roles []string        `json:"roles"`
	Meta  map[string]any  `json:"metadata"`
	Raw   json.RawMessage `json:"raw"`
	Born  time.Time       `json:"born"`
}

func TestNamesMatchExactly(t *testing.T) {
	var p person
	if err := strictjson.Unmarshal([]byte(`{"EMAIL":"eve","age":7,"other":1}`), &p); err != nil {
		t.Fatal(err)
	}
	if p.Email != "" || p.Age != 7 {
		t.Errorf("%+v, want age 7 and no email: names are exact and others ignored", p)
	}
	for _, in := range []string{`{"EMAIL":"eve"}`, `{"age":7,"other":1}`} {
		wantErr(t, in, strictjson.UnmarshalStrict([]byte(in), &p), strictjson.ErrUnknown)
	}
}

func TestWrongTypesAreRefusedWithoutNamingThem(t *testing.T) {
	for _, in := range []string{
		`[]`, `null`, `"a"`, `{"email":5}`, `{"email":null}`, `{"age":"7"}`, `{"age":7.5}`, `{"age":null}`,
		`{"age":99999999999999999999}`, `{"roles":["a",null]}`, `{"roles":"a"}`, `{"metadata":[]}`, `{"born":null}`, `{"born":"yesterday"}`,
	} {
		var p person
		wantErr(t, in, strictjson.Unmarshal([]byte(in), &p), strictjson.ErrWrongType)
	}
}

func TestNullIsTakenWhereGoCanHoldIt(t *testing.T) {
	nick := "ada"
	p := person{Nick: &nick, Roles: []string{"admin"}, Meta: map[string]any{"a": 1}}
	if err := strictjson.Unmarshal([]byte(`{"nick":null,"roles":null,"metadata":null,"raw":null}`), &p); err != nil {
		t.Fatal(err)
	}
	if p.Nick != nil || p.Roles != nil || p.Meta != nil || string(p.Raw) != "null" {
		t.Errorf("%+v, want nil, nil, nil and null", p)
	}
	if err := strictjson.Unmarshal([]byte(`{"metadata":{"gone":null}}`), &p); err != nil {
		t.Errorf("null in free-form data: %v, want it accepted", err)
	}
}

func TestNumbersInFreeFormDataKeepTheirDigits(t *testing.T) {
	for _, number := range []string{"9007199254740993", "123456789012345678901234567890", "1.10", "-0", "1E+2", "0.1000000000000000055511151231257827"} {
		in := `{"a":{"b":[` + number + `]}}`
		var m map[string]any
		if err := strictjson.Unmarshal([]byte(in), &m); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if out, err := json.Marshal(m); err != nil || string(out) != in {
			t.Errorf("%s came back as %s, %v", in, out, err)
		}
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || err.Error() != want.Error() {
		t.Errorf("%s: %v, want %v, in those words", what, err, want)
	}
}

func FuzzParseObject(f *testing.F) {
	for _, in := range malformed {
		if len(in) < 1000 {
			f.Add([]byte(in))
		}
	}
	f.Add([]byte(`{"a":{"b":[1,2.50,"\ud83d\ude00",true,null,9007199254740993]},"c":"d"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		o, err := strictjson.ParseObject(data)
		if !bytes.Equal(data, before) {
			t.Fatalf("%q was changed to %q", before, data)
		}
		if err != nil {
			wantErr(t, "refused", err, strictjson.ErrMalformed)
			return
		}

		// What is accepted means the same to encoding/json, whole and by member.
		var std, ours map[string]any
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		if err := dec.Decode(&std); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		if err := json.Unmarshal(data, new(map[string]any)); err != nil {
			t.Fatalf("accepted, but encoding/json with float64 says %v", err)
		}
		if err := strictjson.Unmarshal(data, &ours); err != nil || !reflect.DeepEqual(ours, std) {
			t.Fatalf("Unmarshal: %v, %v, want %v", ours, err, std)
		}
		if o.Len() != len(std) {
			t.Fatalf("%d members, want %d", o.Len(), len(std))
		}
		for _, name := range o.Names() {
			value, ok := o.Get(name)
			var got any
			if err := strictjson.Unmarshal(value, &got); !ok || err != nil || !reflect.DeepEqual(got, std[name]) {
				t.Fatalf("member %q: %v, %v, %v, want %v", name, got, ok, err, std[name])
			}
		}
	})
}
