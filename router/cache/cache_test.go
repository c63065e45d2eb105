package cache

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cohortd/cohort/router"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestMistakes(t *testing.T) {
	for action, want := range map[string]string{
		"cacheinc:value=1":                         "cacheinc: it needs key=",
		"cacheinc:key=n,name=nosuch":               `there is no cache "nosuch", only limiter, other`,
		"cachevar:key=n,var=N,name=c@1.2.3.4:5":    "caches of other servers are not read",
		"cachevar:key=n":                           "it needs var=",
		"cacheset:key=n":                           "it needs value=",
		"cacheinc:key=n,expires=soon":              `"soon" is not a time`,
		"cacheinc:key=n,expires=-3":                `"-3" is not a time`,
		"cacheinc:key=n,expire=3":                  "there is no key expire=; did you mean expires=?",
		"cacheinc:key=n,unavailable=never":         "unavailable=never: it is open or closed",
		"cachevar:key=n,var=N,read=slow":           "read=slow: it is fresh or local",
		"cachevar:key=n,var=N,deadline=x":          "deadline=x: it is a time such as 500ms",
		"chacheinc:key=n":                          "did you mean cacheinc?",
		"cache:name=other":                         "cache: it needs key=",
		"cachediv:key=n,value=2,unavaliable=open":  "did you mean unavailable=?",
		"cachemul:key=n,value=2,deadline=0":        "deadline=0: it is a time",
		"cachedec:key=n,value=2,unavailable=clsed": "unavailable=clsed",
	} {
		rules := []router.Rule{{Table: "route", Kind: router.Run, Action: action, Where: "app.ini:7"}}
		_, err := router.Compile(rules, router.Core().With(Menu(nil, []Spec{{Name: "limiter"}, {Name: "other"}})), quiet)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "app.ini:7: route-run: ") {
			t.Errorf("Compile(%q) = %v, want app.ini:7: ...%s", action, err, want)
		}
	}
}

func TestNoCaches(t *testing.T) {
	rules := []router.Rule{{Table: "route", Kind: router.If, Test: "incache:key=k", Action: "last:", Where: "app.ini:7"}}
	_, err := router.Compile(rules, router.Core().With(Menu(nil, nil)), quiet)
	if err == nil || !strings.Contains(err.Error(), "define one with cache2 = ") {
		t.Errorf("Compile = %v, want it to say how to define a cache", err)
	}
}

func TestNotices(t *testing.T) {
	rules := []router.Rule{{Table: "route", Kind: router.Run, Action: "cache:key=k,name=nosuch,strange=1", Where: "app.ini:7"}}
	site, err := router.Compile(rules, router.Core().With(Menu(nil, []Spec{{Name: "c"}})), quiet)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(site.Notices(), "\n")
	for _, want := range []string{`app.ini:7: route-run: cache: there is no cache "nosuch", only c: nothing is ever found`, "the key strange= is unknown"} {
		if !strings.Contains(got, want) {
			t.Errorf("Notices() = %s, want %s", got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "30": 30 * time.Second, "500ms": 500 * time.Millisecond, "2h": 2 * time.Hour} {
		if got, err := duration(text); got != want || err != nil {
			t.Errorf("duration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5", "99999999999", "-3s", "x"} {
		if got, err := duration(text); err == nil {
			t.Errorf("duration(%q) = %v, want an error", text, got)
		}
	}
}

// What a full cache refuses may work soon, what is refused for good never does.
func TestFull(t *testing.T) {
	for name, tt := range map[string]struct {
		args string
		want int
	}{
		"closed":   {"cacheinc:key=${PATH_INFO}", 503},
		"open":     {"cacheinc:key=${PATH_INFO},unavailable=open", 404},
		"too long": {"cacheinc:key=${PATH_INFO}${QUERY_STRING},unavailable=open", 500},
	} {
		caches := newMemory(nil)
		caches.full = 1
		rules := []router.Rule{{Table: "route", Kind: router.Run, Action: tt.args}}
		site, err := router.Compile(rules, router.Core().With(Menu(caches, []Spec{{Name: "c"}})), quiet)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []string{"/a", "/b?" + strings.Repeat("x", 200)} {
			w := httptest.NewRecorder()
			site.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
			if target != "/a" && w.Code != tt.want {
				t.Errorf("%s: the second key is answered with %d, want %d", name, w.Code, tt.want)
			}
		}
	}
}

// Counting and testing in one step admits exactly as many as the rule says, however many come at once.
func TestExactUnderLoad(t *testing.T) {
	rules, specs := parseRules("cache2 = limiter\n" + oneStep)
	site, err := router.Compile(rules, router.Core().With(Menu(newMemory(specs), specs)), quiet)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	admitted := map[string]int{}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 20 {
				req := httptest.NewRequest("GET", "/", nil)
				req.RemoteAddr = fmt.Sprintf("10.0.0.%d:1", i%4)
				w := httptest.NewRecorder()
				site.ServeHTTP(w, req)
				if w.Code == 404 {
					mu.Lock()
					admitted[req.RemoteAddr]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for addr, n := range admitted {
		if n != 11 {
			t.Errorf("%s was admitted %d times, want 11", addr, n)
		}
	}
	if len(admitted) != 4 {
		t.Errorf("%d clients were admitted, want 4", len(admitted))
	}
}

func ExampleMenu() {
	var caches Caches = newMemory(nil)
	menu := router.Core().With(Menu(caches, []Spec{{Name: "limiter", Open: true}}))
	site, err := router.Compile([]router.Rule{
		{Table: "route", Kind: router.Run, Action: "cacheinc:key=${REMOTE_ADDR},expires=30,var=COUNT", Where: "app.ini:4"},
		{Table: "route", Kind: router.If, Test: ">:${COUNT};2", Action: "return:429", Where: "app.ini:5"},
	}, menu, quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		fmt.Print(w.Code, " ")
	}
	// Output: 404 404 429
}
