package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// read gives the entries that count as "key=value", after all steps.
func read(t testing.TB, file, section, text string, env map[string]string) (entries []string, r *reader) {
	t.Helper()
	r = newReader(func(name string) (string, bool) {
		value, found := env[name]
		return value, found
	})
	r.source(file, section, text)
	list := r.entries
	for _, step := range r.steps() {
		list = step(list)
	}
	for _, e := range list {
		entries = append(entries, e.key+"="+e.value)
	}
	return entries, r
}

// What uWSGI 2.0.21 does with the same lines was watched, but for the rows that say otherwise.
func TestGrammar(t *testing.T) {
	env := map[string]string{"SET": "from environment", "EMPTY": "", "NESTED": "%(c)", "LOOP": "$(LOOP)"}
	for name, tt := range map[string]struct {
		text    string
		section string
		want    []string
		wrong   string // part of the error
	}{
		"comments":                          {text: "; a\n# b\n  ; c\n\t# d\n\n \t\nk = v", want: []string{"k=v"}},
		"blanks around key and value":       {text: "  k   =   a  b \t\n\tl\t=\tc", want: []string{"k=a  b", "l=c"}},
		"no comment behind a value":         {text: "k = a ; b # c", want: []string{"k=a ; b # c"}},
		"quotes are part of the value":      {text: `k = "a" 'b'`, want: []string{`k="a" 'b'`}},
		"only the first = splits":           {text: "k = a=b=c", want: []string{"k=a=b=c"}},
		"no = is an empty value":            {text: "k", want: []string{"k="}},
		"CRLF":                              {text: "k = a\r\nl = b\r\n", want: []string{"k=a", "l=b"}},
		"keys repeat in order":              {text: "k = a\nl = b\nk = c", want: []string{"k=a", "l=b", "k=c"}},
		"other sections do not count":       {text: "k = a\n[x]\nk = b\n[uwsgi]\nk = c\n[]\nk = d", want: []string{"k=a", "k=c"}},
		"uwsgi and cohort in one file":      {text: "k = a\n[cohort]\nl = b", want: []string{"k=a", "l=b"}},
		"a section by name":                 {text: "k = a\n[mine]\nk = b", section: "mine", want: []string{"k=b"}},
		"blanks in a section's name":        {text: "[ x ]\nk = a\n[ uwsgi ]\nk = b", want: []string{"k=b"}},
		"text behind a section (uWSGI: ok)": {text: "[x] trailing\nk = a", wrong: "alone on its line"},
		"section without end (uWSGI: ok)":   {text: "[x\nk = a", wrong: "closing bracket"},

		"magic of the path":             {text: "k = s=%s n=%n e=%e d=%d p=%p c=%c", want: []string{"k=s=my.conf.ini n=my.conf e=ini d=/a/conf/ p=/a/conf/my.conf.ini c=conf"}},
		"magic of the first file":       {text: "k = %S %N %E %D %P %C", want: []string{"k=my.conf.ini my.conf ini /a/conf/ /a/conf/my.conf.ini conf"}},
		"magic of path components":      {text: "k = %0|%1|%2|%3", want: []string{"k=a|conf|my.conf.ini|"}},
		"magic percent":                 {text: "k = 100%% %%n", want: []string{"k=100% %n"}},
		"magic escape":                  {text: "k = %[0m", want: []string{"k=\x1b0m"}},
		"magic section":                 {text: "[mine]\nk = %x", section: "mine", want: []string{"k=mine"}},
		"magic in a key":                {text: "%n = v", want: []string{"my.conf=v"}},
		"other pairs vanish":            {text: "k = [100%]x", want: []string{"k=[100x"}},
		"% at the end (uWSGI: joins)":   {text: "k = 100%\nl = b", want: []string{"k=100%", "l=b"}},
		"%% makes a placeholder":        {text: "a = 1\nk = %%(a)", want: []string{"a=1", "k=1"}},
		"placeholder":                   {text: "k = x%(a)y\na = 1", want: []string{"k=x1y", "a=1"}},
		"the first value of a name":     {text: "a = 1\na = 2\nk = %(a)", want: []string{"a=1", "a=2", "k=1"}},
		"options are placeholders too":  {text: "http-socket = :8080\nk = %(http-socket)", want: []string{"http-socket=:8080", "k=:8080"}},
		"from another section's part":   {text: "k = %(a)\n[cohort]\na = 1", want: []string{"k=1", "a=1"}},
		"unknown placeholder":           {text: "k = %(none) %(none", want: []string{"k=%(none) %(none"}},
		"placeholder of a placeholder":  {text: "k = %(a)\na = %(b)\nb = 1", want: []string{"k=1", "a=1", "b=1"}},
		"placeholder in a placeholder":  {text: "k = %(%(a))\na = b\nb = 1", want: []string{"k=1", "a=b", "b=1"}},
		"empty placeholder":             {text: "k = [%(a)]\na =", want: []string{"k=[]", "a="}},
		"endless (uWSGI: stays)":        {text: "a = %(b)\nb = %(a)", wrong: "leads back to itself"},
		"two that meet again":           {text: "a = %(b)%(b)\nb = %(c)%(c)\nc = x%(b)", wrong: "leads back to itself"},
		"exploding":                     {text: "a = %(b)%(b)%(b)%(b)\nb = %(c)%(c)%(c)%(c)\nc = " + strings.Repeat("x", 9000), wrong: "too long"},
		"put together from two parts":   {text: "a = %(b\nb = 1\nk = [%(a))]", want: []string{"a=%(b", "b=1", "k=[1]"}},
		"arithmetic is not read":        {text: "a = 1\nk = %(a + 1)", want: []string{"a=1", "k=%(a + 1)"}, wrong: "arithmetic"},
		"environment":                   {text: "k = [$(SET)]", want: []string{"k=[from environment]"}},
		"empty environment":             {text: "k = [$(EMPTY)]", want: []string{"k=[]"}},
		"unset environment":             {text: "k = $(UNSET)", want: []string{"k=$(UNSET)"}},
		"environment in a placeholder":  {text: "a = $(SET)\nk = %(a)", want: []string{"a=from environment", "k=from environment"}},
		"placeholder from environment":  {text: "c = 1\nk = $(NESTED)", want: []string{"c=1", "k=1"}},
		"no environment by placeholder": {text: "a = SET\nk = $(%(a))", want: []string{"a=SET", "k=$(SET)"}},
		"endless environment":           {text: "k = $(LOOP)", want: []string{"k=$(LOOP)"}, wrong: "leads back to itself"},
		"file content is not read":      {text: "k = @(/etc/hostname)", want: []string{"k=@(/etc/hostname)"}, wrong: "@(FILE)"},

		"set":                  {text: "set = a=1\nk = %(a)", want: []string{"a=1", "k=1"}},
		"set an option":        {text: "set = route-run=last:", want: []string{"route-run=last:"}},
		"set-placeholder":      {text: "set-placeholder = a=1\nset-ph = b=x=y\nk = %(a)%(b)", want: []string{"a=1", "b=x=y", "k=1x=y"}},
		"set-ph of an option":  {text: "set-ph = http-socket=:1", want: []string{"http-socket=:1"}, wrong: `name of the option "http-socket"`},
		"set-ph of uWSGI's":    {text: "set-ph = buffer-size=5", want: []string{"buffer-size=5"}, wrong: `name of the option "buffer-size"`},
		"set without a value":  {text: "set = a", want: []string{"set="}, wrong: "NAME=VALUE"},
		"for is not read":      {text: "for = a b\nk = v\nendfor =", want: []string{"k=v"}, wrong: `option "for"`},
		"include is not read":  {text: "include = x.ini", wrong: `option "include"`},
		"if is not read":       {text: "if-env = X\nk = v\nendif", want: []string{"k=v"}, wrong: `option "if-env"`},
		"a long value is kept": {text: "k = " + strings.Repeat("x", 3000), want: []string{"k=" + strings.Repeat("x", 3000)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, r := read(t, "/a/conf/my.conf.ini", tt.section, "[uwsgi]\n"+tt.text, env)
			if (tt.wrong == "" || tt.want != nil) && !slices.Equal(got, tt.want) {
				t.Errorf("entries = %q, want %q", got, tt.want)
			}
			_, err := r.result()
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("error = %v, want one with %q", err, tt.wrong)
			}
		})
	}
}

func TestMagicOfTheMachine(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, "x.ini", "", "[uwsgi]\na = %v\nb = %h\nc = %o\nd = %d\ne = %t%T%k%u%U%g%G%b", nil)
	want := []string{"a=" + dir, "b=" + host, "c=x.ini", "d=" + dir + "/"}
	if !slices.Equal(got[:4], want) || strings.Contains(got[4], "%") {
		t.Errorf("entries = %q, want %q and no %% in the last", got, want)
	}
}

func TestSectionInThePath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a.ini", "b:c.ini"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("d:e", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		"a.ini":                        {"a.ini", ""},
		"a.ini:mine":                   {"a.ini", "mine"},
		"b:c.ini":                      {"b:c.ini", ""},
		"b:c.ini:mine":                 {"b:c.ini", "mine"},
		"none.ini":                     {"none.ini", ""},
		filepath.Join("d:e", "f.ini"):  {filepath.Join("d:e", "f.ini"), ""},
		filepath.Join("d:e", "f.ini:"): {filepath.Join("d:e", "f.ini"), ""},
	} {
		if file, section := splitPath(path); file != want[0] || section != want[1] {
			t.Errorf("splitPath(%q) = %q, %q, want %q", path, file, section, want)
		}
	}
}
