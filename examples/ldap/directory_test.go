package ldap_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// directory is an LDAP server in this process. It speaks as much of the protocol as a sign-in needs, and as carelessly as real ones: a
// bind without a password succeeds.
type directory struct {
	listener net.Listener
	tls      *tls.Config
	caFile   string // who vouches for it

	mu      sync.Mutex
	entries []entry
	how     behaviour
	heard   bytes.Buffer // all that came in clear
	binds   []string     // "name password" of each bind
	filters []string
	open    map[net.Conn]bool
}

type entry struct {
	dn, password string
	attributes   map[string][]string
}

// behaviour is what a directory does otherwise than it should.
type behaviour struct {
	noStartTLS bool
	silentAt   string // accept, bind, search
	referTo    string // an address to which binds and searches are referred
	also       string // an address that a search refers to beside what it finds
	result     map[string]int
	huge       bool
	nameless   bool // entries have no name, and whoever binds by none is taken, with any password
}

const service, servicePassword = "cn=latchkey,dc=example,dc=com", "service-password"

func person(uid, password, mail, uuid string) entry {
	return entry{"uid=" + uid + ",ou=people,dc=example,dc=com", password, map[string][]string{"objectClass": {"person"}, "uid": {uid}, "cn": {strings.ToUpper(uid)},
		"mail": {mail}, "entryUUID": {uuid}}}
}

var (
	ada = person("ada", "correct-horse", "ada@example.com", "6b7ba812-9dad-11d1-80b4-00c04fd43000")
	eve = person("eve", "battery-staple", "ada@example.com", "6b7ba812-9dad-11d1-80b4-00c04fd43666") // who has written Ada's address into her entry
	bot = entry{"uid=bot,ou=robots,dc=example,dc=com", "bot-password", map[string][]string{"objectClass": {"device"}, "uid": {"bot"}, "entryUUID": {"b07"}}}
)

// startDirectory runs a directory until the test ends; overTLS has it speak nothing else.
func startDirectory(t testing.TB, overTLS bool) *directory {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate, of 127.0.0.1
	certified.Close()
	d := &directory{tls: &tls.Config{Certificates: certified.TLS.Certificates}, caFile: filepath.Join(t.TempDir(), "ca.pem"), open: map[net.Conn]bool{},
		entries: []entry{ada, eve, bot, {service, servicePassword, map[string][]string{"objectClass": {"device"}}}}}
	check(t, os.WriteFile(d.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw}), 0o600))
	var err error
	d.listener, err = net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := d.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { d.serve(conn, overTLS) })
		}
	})
	t.Cleanup(func() {
		d.stop()
		serving.Wait()
	})
	return d
}

// stop has the directory be gone.
func (d *directory) stop() {
	d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn := range d.open {
		conn.Close()
	}
}

func (d *directory) host() string { return d.listener.Addr().String() }

func (d *directory) does(how behaviour) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.how = how
}

func (d *directory) holds(entries ...entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(entries, entry{service, servicePassword, nil})
}

// said are the binds since it was asked last, and what came in clear.
func (d *directory) said() (binds, filters []string, heard string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	binds, filters, heard = d.binds, d.filters, d.heard.String()
	d.binds, d.filters = nil, nil
	d.heard.Reset()
	return binds, filters, heard
}

// tapped keeps what it reads.
type tapped struct {
	net.Conn
	d *directory
}

func (c tapped) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.d.heard.Write(into[:n])
	return n, err
}

func (d *directory) serve(raw net.Conn, overTLS bool) {
	d.mu.Lock()
	d.open[raw] = true
	how := d.how
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.open, raw)
		d.mu.Unlock()
		raw.Close()
	}()
	if how.silentAt == "accept" {
		_, _ = io.Copy(io.Discard, raw)
		return
	}
	var conn net.Conn = tapped{raw, d}
	if overTLS {
		conn = tls.Server(conn, d.tls)
	}
	bound := ""
	for {
		request, err := ber.ReadPacket(conn)
		if err != nil || len(request.Children) < 2 {
			return
		}
		id, op := request.Children[0].Value.(int64), request.Children[1]
		answer := func(tag ber.Tag, code int, more ...*ber.Packet) {
			reply := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
			reply.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
			reply.AppendChild(octets("")) // the name that matched
			reply.AppendChild(octets("a diagnosis of " + goldap.LDAPResultCodeMap[uint16(code)]))
			for _, m := range more {
				reply.AppendChild(m)
			}
			send(conn, id, reply)
		}
		refer := func(tag ber.Tag) {
			to := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
			to.AppendChild(octets("ldap://" + how.referTo + "/dc=example,dc=com"))
			answer(tag, goldap.LDAPResultReferral, to)
		}
		switch op.Tag {
		case goldap.ApplicationBindRequest:
			dn, password := string(op.Children[1].ByteValue), op.Children[2].Data.String()
			d.mu.Lock()
			d.binds = append(d.binds, dn+" "+password)
			d.mu.Unlock()
			switch code, forced := how.result["bind"]; {
			case how.silentAt == "bind":
			case forced && dn != service:
				answer(goldap.ApplicationBindResponse, code)
			case how.referTo != "" && dn != service:
				refer(goldap.ApplicationBindResponse)
			case password == "" || d.takes(dn, password):
				bound = dn
				answer(goldap.ApplicationBindResponse, goldap.LDAPResultSuccess)
			default:
				bound = ""
				answer(goldap.ApplicationBindResponse, goldap.LDAPResultInvalidCredentials)
			}
		case goldap.ApplicationSearchRequest:
			base, scope, limit, filter := string(op.Children[0].ByteValue), op.Children[1].Value.(int64), op.Children[3].Value.(int64), op.Children[6]
			d.mu.Lock()
			text, _ := goldap.DecompileFilter(filter)
			d.filters = append(d.filters, text)
			d.mu.Unlock()
			switch code, forced := how.result["search"]; {
			case how.silentAt == "search":
				continue
			case forced:
				answer(goldap.ApplicationSearchResultDone, code)
				continue
			case bound == "":
				answer(goldap.ApplicationSearchResultDone, goldap.LDAPResultInsufficientAccessRights)
				continue
			}
			if how.also != "" {
				to := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
				to.AppendChild(octets("ldap://" + how.also + "/dc=example,dc=com"))
				send(conn, id, to)
			}
			code := goldap.LDAPResultSuccess
			for n, found := range d.search(base, scope, filter) {
				if limit > 0 && int64(n) >= limit {
					code = goldap.LDAPResultSizeLimitExceeded
					break
				}
				if how.huge {
					found.attributes = maps.Clone(found.attributes)
					found.attributes["cn"] = []string{strings.Repeat("x", 2<<20)}
				}
				send(conn, id, asked(found, op.Children[7]))
			}
			answer(goldap.ApplicationSearchResultDone, code)
		case goldap.ApplicationExtendedRequest:
			if how.noStartTLS {
				answer(goldap.ApplicationExtendedResponse, goldap.LDAPResultProtocolError)
				continue
			}
			answer(goldap.ApplicationExtendedResponse, goldap.LDAPResultSuccess)
			conn = tls.Server(conn, d.tls)
		default:
			return
		}
	}
}

func octets(text string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, text, "")
}

func send(conn net.Conn, id int64, op *ber.Packet) {
	message := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	message.AppendChild(op)
	_, _ = conn.Write(message.Bytes())
}

// asked is an entry with the attributes that were asked for, as those that the server itself keeps must be.
func asked(e entry, names *ber.Packet) *ber.Packet {
	reply := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	reply.AppendChild(octets(e.dn))
	all := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for _, name := range names.Children {
		values := e.attributes[string(name.ByteValue)]
		if len(values) == 0 {
			continue
		}
		one := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		one.AppendChild(octets(string(name.ByteValue)))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, value := range values {
			set.AppendChild(octets(value))
		}
		one.AppendChild(set)
		all.AppendChild(one)
	}
	reply.AppendChild(all)
	return reply
}

func same(dn, other string) bool {
	a, err := goldap.ParseDN(dn)
	b, err2 := goldap.ParseDN(other)
	return err == nil && err2 == nil && a.EqualFold(b)
}

func (d *directory) takes(dn, password string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return dn == "" && d.how.nameless || slices.ContainsFunc(d.entries, func(e entry) bool { return same(e.dn, dn) && e.password == password })
}

func (d *directory) search(base string, scope int64, filter *ber.Packet) (found []entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, err := goldap.ParseDN(base)
	if err != nil {
		return nil
	}
	for _, e := range d.entries {
		dn, _ := goldap.ParseDN(e.dn)
		if (at.EqualFold(dn) || scope == goldap.ScopeWholeSubtree && at.AncestorOfFold(dn)) && matches(e, filter) {
			if d.how.nameless {
				e.dn = ""
			}
			found = append(found, e)
		}
	}
	return found
}

// matches is the filter's verdict, without regard to case.
func matches(e entry, filter *ber.Packet) bool {
	is := func(f *ber.Packet) bool { return matches(e, f) }
	any := func(attribute *ber.Packet, ok func(value string) bool) bool {
		for name, values := range e.attributes {
			if strings.EqualFold(name, string(attribute.ByteValue)) && slices.ContainsFunc(values, func(v string) bool { return ok(strings.ToLower(v)) }) {
				return true
			}
		}
		return false
	}
	switch filter.Tag {
	case goldap.FilterAnd:
		return !slices.ContainsFunc(filter.Children, func(f *ber.Packet) bool { return !is(f) })
	case goldap.FilterOr:
		return slices.ContainsFunc(filter.Children, is)
	case goldap.FilterNot:
		return !is(filter.Children[0])
	case goldap.FilterEqualityMatch:
		return any(filter.Children[0], func(v string) bool { return v == strings.ToLower(string(filter.Children[1].ByteValue)) })
	case goldap.FilterPresent:
		return any(&ber.Packet{ByteValue: filter.Data.Bytes()}, func(string) bool { return true })
	case goldap.FilterSubstrings: // as if all of it were there: who gets one past is found out
		return any(filter.Children[0], func(string) bool { return true })
	}
	return false
}
