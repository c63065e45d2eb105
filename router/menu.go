package router

import "maps"

// Action is the part of a rule that does something.
type Action func(*Request) Verdict

// Condition is the part of a rule that asks something. An error ends the request, whether the rule says
// -if or -if-not.
type Condition func(*Request) (bool, error)

// Var is a piece of text that a request gives.
type Var func(*Request) string

// Builders make these from the text of one rule, once. They report what is wrong with that text.
type (
	Builder          func(args string, s *Scope) (Action, error)
	ConditionBuilder func(args string, s *Scope) (Condition, error)
	VarBuilder       func(arg string, s *Scope) Var
)

// Menu is everything a rule can name.
type Menu struct {
	Actions    map[string]Builder
	Conditions map[string]ConditionBuilder
	Vars       map[string]VarBuilder // ${name[arg]}
	Types      Types                 // content types by file extension
	Handler    func(*Request)        // answers what the request table lets pass; nil is NotFound
}

// With is m and what more offers; where both have a name, more wins.
func (m Menu) With(more Menu) Menu {
	m.Actions = merged(m.Actions, more.Actions)
	m.Conditions = merged(m.Conditions, more.Conditions)
	m.Vars = merged(m.Vars, more.Vars)
	m.Types = merged(m.Types, more.Types)
	if more.Handler != nil {
		m.Handler = more.Handler
	}
	return m
}

func merged[M ~map[string]V, V any](a, b M) M {
	all := make(M, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

// Core is the menu that needs nothing but the request: uWSGI's core actions, conditions and variables, and
// those of its plugins redirect and rewrite.
func Core() Menu {
	return Menu{
		Actions: map[string]Builder{
			"last":              always(Continue),
			"continue":          always(Continue),
			"break":             breakOff,
			"return":            returnStatus,
			"break-with-status": returnStatus,
			"goto":              goTo,
			"goon":              goOn,
			"log":               logText,
			"logvar":            logVar,
			"donotlog":          doNotLog,
			"donotoffload":      always(Next), // nothing is offloaded

			"addheader":      addHeader,
			"delheader":      delHeader,
			"remheader":      delHeader,
			"clearheaders":   clearHeaders,
			"resetheaders":   clearHeaders,
			"disableheaders": disableHeaders,
			"send":           sendText(""),
			"send-crnl":      sendText("\r\n"),

			"redirect":           redirect(302, "Moved"),
			"redirect-302":       redirect(302, "Moved"),
			"redirect-permanent": redirect(301, "Moved Permanently"),
			"redirect-301":       redirect(301, "Moved Permanently"),
			"rewrite":            rewrite(Next),
			"rewrite-last":       rewrite(Continue),

			"addvar":        addVar,
			"setmethod":     set("REQUEST_METHOD"),
			"seturi":        set("REQUEST_URI"),
			"setpathinfo":   set("PATH_INFO"),
			"setscriptname": set("SCRIPT_NAME"),
			"setdocroot":    set("DOCUMENT_ROOT"),
			"setscheme":     set("UWSGI_SCHEME"),
			"setremoteaddr": set("REMOTE_ADDR"),
			"setapp":        set("UWSGI_APPID"),
			"sethome":       set("UWSGI_HOME"),
			"setfile":       set("UWSGI_HOME"), // the same variable in core/routing.c
			"setuser":       setUser,
			"fixpathinfo":   fixPathInfo,

			"+": calculate(func(a, b int64) int64 { return a + b }),
			"-": calculate(func(a, b int64) int64 { return a - b }),
			"*": calculate(func(a, b int64) int64 { return a * b }),
			"/": calculate(divide),
		},
		Conditions: map[string]ConditionBuilder{
			"equal":      compareText(func(a, b string) bool { return a == b }),
			"isequal":    compareText(func(a, b string) bool { return a == b }),
			"eq":         compareText(func(a, b string) bool { return a == b }),
			"==":         compareText(func(a, b string) bool { return a == b }),
			"startswith": compareText(startsWith),
			"endswith":   compareText(endsWith),
			"contains":   compareText(contains),
			"contain":    compareText(contains),
			"regexp":     matches,
			"re":         matches,
			"empty":      isEmpty,

			"ishigher":      compareNumbers(func(a, b int64) bool { return a > b }),
			">":             compareNumbers(func(a, b int64) bool { return a > b }),
			"ishigherequal": compareNumbers(func(a, b int64) bool { return a >= b }),
			">=":            compareNumbers(func(a, b int64) bool { return a >= b }),
			"islower":       compareNumbers(func(a, b int64) bool { return a < b }),
			"<":             compareNumbers(func(a, b int64) bool { return a < b }),
			"islowerequal":  compareNumbers(func(a, b int64) bool { return a <= b }),
			"<=":            compareNumbers(func(a, b int64) bool { return a <= b }),

			"ipv4in": compareText(inNetwork(isIPv4)),
			"ipv6in": compareText(inNetwork(isIPv6)),

			"exists": ofFile(exists),
			"isfile": ofFile(isFile),
			"isdir":  ofFile(isDir),
			"islink": ofFile(isLink),
			"isexec": ofFile(isExec),
		},
		Vars: map[string]VarBuilder{
			"cookie":   cookieVar,
			"qs":       queryVar,
			"mime":     mimeVar,
			"time":     timeVar,
			"httptime": httpTimeVar,
			"base64":   encodedVar(base64Text),
			"hex":      encodedVar(hexText),
			"upper":    encodedVar(upperText),
			"lower":    encodedVar(lowerText),
			"uwsgi":    uwsgiVar,
		},
		Types: builtinTypes(),
	}
}
