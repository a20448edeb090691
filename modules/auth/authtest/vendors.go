package authtest

import "testing"

// NewGoogle starts an issuer that is as Google documents its own. The person is Ada of gmail.com; an account of an organization has
// the claim hd: Person{…, Claims: map[string]any{"hd": "example.com"}}. Google may also spell iss without https://, as any claim:
// {"iss": "accounts.google.com"}.
func NewGoogle(t testing.TB) *Issuer {
	t.Helper()
	i := NewIssuer(t, IssuerOptions{Algorithm: "RS256", Nameless: true, ClientID: "1234567890-abc.apps.googleusercontent.com"})
	i.SignIn(Person{Subject: "110169484474386276334", Email: "ada.lovelace@gmail.com", EmailVerified: true,
		Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace", Picture: "https://lh3.googleusercontent.com/a/ada"})
	return i
}

// MicrosoftTenant is the tenant of Ada at an issuer of NewMicrosoft, and MicrosoftPersonal that of all personal accounts.
const (
	MicrosoftTenant   = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
	MicrosoftPersonal = "9188040d-6c67-4c5b-b112-36a304b66dad"
)

// NewMicrosoft starts an issuer that is as Microsoft documents its own, of a tenant: its id, common, organizations or consumers. Its
// Origin is the authority. The person is Ada of MicrosoftTenant, or of the tenant's id; others are MicrosoftPerson.
func NewMicrosoft(t testing.TB, tenant string) *Issuer {
	t.Helper()
	o, of := IssuerOptions{Algorithm: "RS256", Nameless: true, Path: "/" + tenant + "/v2.0"}, tenant
	switch tenant {
	case "common", "organizations":
		o.TenantPath, of = "/{tenantid}/v2.0", MicrosoftTenant
	case "consumers":
		o.TenantPath, of = "/"+MicrosoftPersonal+"/v2.0", MicrosoftPersonal
	}
	i := NewIssuer(t, o)
	i.SignIn(MicrosoftPerson(of, "ada-1815", "ada@example.com", nil))
	return i
}

// MicrosoftPerson is somebody of a tenant, as Microsoft's ID tokens speak of them: the address is what the tenant says it is, and
// nothing says that it is verified. Further claims, such as xms_edov, replace those.
func MicrosoftPerson(tenant, subject, address string, claims map[string]any) Person {
	p := Person{Subject: subject, Name: "Ada Lovelace", Email: address, Claims: map[string]any{
		"ver": "2.0", "tid": tenant, "oid": "00000000-0000-0000-0000-" + (subject + "000000000000")[:12], "preferred_username": address, "email_verified": nil,
	}}
	for name, value := range claims {
		p.Claims[name] = value
	}
	return p
}
