package auth_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

func TestAProviderReadsItsOwnSettings(t *testing.T) {
	type config struct {
		Name    string        `config:"display_name"`
		Wait    time.Duration `config:"wait"`
		Retries int           `config:"retries"`
		Strict  bool          `config:"strict"`
		Scopes  []string      `config:"scopes"`
		Issuer  string        `config:"issuer"`
	}
	want := config{"Acme", 2 * time.Second, 3, true, []string{"openid", "email"}, "kept"}
	for name, section := range map[string]map[string]any{
		"from a file":          {"display_name": "Acme", "wait": "2s", "retries": 3, "strict": true, "scopes": []any{"openid", "email"}},
		"from the environment": {"display_name": "Acme", "wait": "2s", "retries": "3", "strict": "true", "scopes": "openid,email"},
	} {
		got := config{Issuer: "kept"}
		if err := (auth.Settings{"acme": section}).Decode("acme", &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for name, c := range map[string]struct {
		section map[string]any
		says    string
	}{
		"an unknown setting":     {map[string]any{"display_nam": "Acme"}, "auth.providers.acme.display_nam: the provider knows no such setting"},
		"another case":           {map[string]any{"Display_Name": "Acme"}, "auth.providers.acme.Display_Name: the provider knows no such setting"},
		"a text that is no time": {map[string]any{"wait": "hunter2hunter2"}, "auth.providers.acme.wait: the value has the wrong type"},
		"a text for a number":    {map[string]any{"retries": "hunter2hunter2"}, "auth.providers.acme.retries: the value has the wrong type"},
	} {
		err := (auth.Settings{"acme": c.section}).Decode("acme", new(config))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
	if err := auth.Settings(nil).Decode("acme", new(config)); err != nil {
		t.Errorf("no section: %v", err)
	}
}

// What several providers have in common is a struct of its own, in each of theirs.
func TestWhatMustBeSetMustBeInWhatIsShared(t *testing.T) {
	type Client struct {
		ID     string `config:"client_id,required"`
		Secret string `config:"client_secret,required"`
	}
	type config struct {
		Client `config:",squash"`
		URL    string  `config:",required"`
		Keys   Client  `config:"keys"`
		Other  *Client `config:"other"`
	}
	got := config{}
	err := (auth.Settings{"acme": {"client_id": "x", "keys": map[string]any{"client_id": "y"}}}).Decode("acme", &got)
	if err == nil || err.Error() != "auth.providers.acme.client_secret, auth.providers.acme.URL, auth.providers.acme.keys.client_secret: must be set" {
		t.Errorf("%v", err)
	}
}

func TestWhatMustBeSetIsSaidAllAtOnce(t *testing.T) {
	type config struct {
		URL    string        `config:"url,required"`
		Secret string        `config:"secret,required"`
		Wait   time.Duration `config:"wait,required"`
		Name   string        `config:"display_name"`
	}
	for name, c := range map[string]struct {
		section map[string]any
		says    []string
	}{
		"nothing":       {nil, []string{"auth.providers.acme.url, auth.providers.acme.secret: must be set"}},
		"an empty text": {map[string]any{"url": "https://acme.example", "secret": ""}, []string{"auth.providers.acme.secret: must be set"}},
		"what is wrong is there": {map[string]any{"url": []any{map[string]any{}}, "secret": "x", "nam": "x"},
			[]string{"auth.providers.acme.url: the value has the wrong type", "auth.providers.acme.nam: the provider knows no such setting"}},
		"all": {map[string]any{"url": "https://acme.example", "secret": "hunter2"}, nil},
	} {
		got := config{Wait: time.Second} // a default
		err := (auth.Settings{"acme": c.section}).Decode("acme", &got)
		var says []string
		for _, e := range auth.SettingsErrors(err) {
			says = append(says, e.Error())
		}
		if !reflect.DeepEqual(says, c.says) {
			t.Errorf("%s: %q, want %q", name, says, c.says)
		}
	}
}

func TestASettingThatIsNoAddressIsNamed(t *testing.T) {
	type Server struct {
		URL string `config:"url,required,https"`
	}
	type config struct {
		Server `config:",squash"`
		Inner  string   `config:"inner,url"`
		More   []string `config:"more,https"`
		Other  Server   `config:"other"`
	}
	const whole, https, public = "must be a whole address, such as https://example.com/path", "must begin with https://", "must lead to a public address"
	good := map[string]any{"url": "https://acme.example/x", "inner": "http://10.0.0.1:8080", "more": "https://a.example,https://b.example", "other": map[string]any{"url": "https://c.example"}}
	for name, c := range map[string]struct {
		change map[string]any
		says   []string
	}{
		"all":                  {nil, nil},
		"what may be left out": {map[string]any{"inner": "", "more": []any{}}, nil},
		"no scheme":            {map[string]any{"url": "hunter2.example"}, []string{"auth.providers.acme.url: " + whole}},
		"a path":               {map[string]any{"inner": "/hunter2"}, []string{"auth.providers.acme.inner: " + whole}},
		"http":                 {map[string]any{"url": "http://acme.example"}, []string{"auth.providers.acme.url: " + https}},
		"another scheme":       {map[string]any{"inner": "ldap://acme.example"}, []string{"auth.providers.acme.inner: " + https}},
		"one's own network":    {map[string]any{"url": "https://10.0.0.1"}, []string{"auth.providers.acme.url: " + public}},
		"a password":           {map[string]any{"inner": "https://ada:hunter2@acme.example"}, []string{"auth.providers.acme.inner: must not hold a user or password"}},
		"one of several":       {map[string]any{"more": "https://a.example,hunter2"}, []string{"auth.providers.acme.more: " + whole}},
		"inside":               {map[string]any{"other": map[string]any{"url": "hunter2"}}, []string{"auth.providers.acme.other.url: " + whole}},
		"none, and one unknown": {map[string]any{"url": "", "inner": "x", "nam": "x"}, []string{"auth.providers.acme.nam: the provider knows no such setting",
			"auth.providers.acme.url: must be set", "auth.providers.acme.inner: " + whole}},
		"of the wrong type": {map[string]any{"url": []any{map[string]any{}}}, []string{"auth.providers.acme.url: the value has the wrong type"}},
	} {
		section := maps.Clone(good)
		maps.Copy(section, c.change)
		err := (auth.Settings{"acme": section}).Decode("acme", new(config))
		var says []string
		for _, e := range auth.SettingsErrors(err) {
			says = append(says, e.Error())
		}
		if !reflect.DeepEqual(says, c.says) || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, want %q", name, says, c.says)
		}
	}
}
