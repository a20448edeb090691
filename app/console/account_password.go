package console

import (
	"net/http"

	"github.com/latchkey-go/latchkey/modules/auth"
)

const passwordPath = accountPath + "/password"

// The fields that a refusal is about, where a password is chosen.
var aboutPassword = map[string]string{
	errNoCurrent.Reason: "current_password", auth.ErrInvalidCredentials.Reason: "current_password",
	errNoPassword.Reason: "new_password", auth.ErrPassword.Reason: "new_password", auth.ErrIdentityExists.Reason: "new_password",
}

// passwordPage is what the page about the password shows. Of Has, May and Unproved one is true, or none: users do not sign in by
// passwords here.
type passwordPage struct {
	Has      bool   // they have one, and can change it
	May      bool   // they have none, and can choose one
	Unproved bool   // they have none, and prove their address first
	Email    string // the account's
}

func (in *inside) passwordPage() (v view, err error) {
	v = view{Title: "account.password"}
	mine, err := in.methods()
	if err != nil {
		return v, err
	}
	a, err := in.account()
	if err != nil {
		return v, err
	}
	offered, err := in.c.link.Providers(in.visitor.session.ActorType)
	if err != nil {
		return v, err
	}
	p := passwordPage{Has: mine.by(provider) != nil, Email: text(a.Email)}
	for _, o := range offered {
		if o.ID == provider && !p.Has {
			p.Unproved = a.Verified == nil
			p.May = !p.Unproved
		}
	}
	if v.Data = p; p.Has {
		v.Again = &again{Secret: true}
	} else if p.May {
		v.Again, err = in.again()
	}
	return v, err
}

func openPassword(in *inside) error {
	v, err := in.passwordPage()
	if err != nil {
		return err
	}
	return in.show("password", v)
}

// savePassword changes the password, or gives the account its first one. By the first all other sessions end; the API says so.
func savePassword(in *inside) error {
	v, err := in.passwordPage()
	if err != nil {
		return err
	}
	p, _ := v.Data.(passwordPage)
	f, err := in.own()
	switch {
	case err != nil:
	case !p.Has && !p.May:
		return in.show("password", v)
	default:
		err = in.choosePassword(p, v.Again, f)
	}
	if err != nil {
		return in.wrong("password", v, err, aboutPassword)
	}
	if p.Has {
		return in.done(passwordPath, "password_changed", "")
	}
	return in.done(methodsPath, "password_chosen", "")
}

func (in *inside) choosePassword(p passwordPage, proof *again, f form) error {
	chosen := f.values.Get("new_password")
	if err := proof.missing(f); err != nil {
		return err
	}
	if chosen == "" {
		return errNoPassword
	}
	body := map[string]string{"password": chosen}
	if current := proof.currentPassword(f); current != nil {
		body["current_password"] = *current
	}
	if p.Has {
		return in.api(http.MethodPost, "/auth/user/"+provider+"/update", body, nil)
	}
	body["email"] = p.Email
	return in.api(http.MethodPost, "/auth/user/"+provider+"/link", body, nil)
}
