package console

import (
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

const deletePath = accountPath + "/delete"

// errUnconfirmed is for who has not typed what says that they mean it.
var errUnconfirmed = says(fault.Invalid, "confirmation_missing")

// deletion is what the page shows of the account that is to go.
type deletion struct {
	Email string // is to be typed; empty: a word is, which the catalogue has
}

func (in *inside) deleteView() (v view, err error) {
	v = view{Title: "delete.title", Back: toProfile, Data: deletion{in.visitor.Email}}
	v.Again, err = in.again()
	return v, err
}

func askDeleteAccount(in *inside) error {
	v, err := in.deleteView()
	if err != nil {
		return err
	}
	return in.show("account_delete", v)
}

// deleteAccount deletes the visitor, who has typed who they are and proves it once more.
func deleteAccount(in *inside) error {
	v, err := in.deleteView()
	if err != nil {
		return err
	}
	f, err := in.own()
	v.Form = f
	if err == nil {
		err = in.confirmed(f)
	}
	if err == nil {
		err = v.Again.missing(f)
	}
	if err == nil {
		body := map[string]*string{}
		if current := v.Again.currentPassword(f); current != nil {
			body["current_password"] = current
		}
		err = in.api(http.MethodPost, "/admin/users/me/delete", body, nil)
	}
	if err != nil {
		about := map[string]string{errUnconfirmed.Reason: "confirmation"}
		for reason, field := range aboutProof {
			about[reason] = field
		}
		return in.wrong("account_delete", v, err, about)
	}
	in.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return in.done("/login", "account_deleted", "")
}

func (in *inside) confirmed(f form) error {
	wanted := in.visitor.Email
	if wanted == "" {
		word, err := in.c.pages.text("delete.word")
		if err != nil {
			return err
		}
		wanted = string(word)
	}
	if !strings.EqualFold(strings.TrimSpace(f.Value("confirmation")), wanted) {
		return errUnconfirmed
	}
	return nil
}
