package console

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
)

// flash is what was just done, as the next page says it once: the text flash.KEY of the catalogue, about something that is no secret.
type flash struct {
	Key   string
	About string
}

// done has the next page say what was done, and has the browser get that page.
func (c *Console) done(w http.ResponseWriter, page, key, about string) error {
	return c.doneAt(w, c.path(page), key, about)
}

// doneAt is done for an address that is known to be good.
func (c *Console) doneAt(w http.ResponseWriter, to, key, about string) error {
	data, err := json.Marshal(flash{key, about})
	if err != nil {
		return err
	}
	c.site.SetFlash(w, base64.RawURLEncoding.EncodeToString(data))
	return away(w, to)
}

// takeFlash is what the last page left to say; nil: nothing. A text that is not of the catalogue is nothing, too: the browser
// keeps it, and may send anything.
func (c *Console) takeFlash(w http.ResponseWriter, r *http.Request) *flash {
	kept := c.site.Flash(r)
	if kept == "" || r.Method == http.MethodHead {
		return nil
	}
	c.site.SetFlash(w, "")
	var f flash
	data, err := base64.RawURLEncoding.DecodeString(kept)
	if err != nil || json.Unmarshal(data, &f) != nil || c.pages.texts.Lookup("flash."+f.Key) == nil {
		return nil
	}
	return &f
}
