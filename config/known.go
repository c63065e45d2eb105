package config

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// class says what becomes of an option of uWSGI that is not in the table.
type class int

const (
	unknown   class = iota
	later           // not built yet: one notice
	silent          // nothing to do and nothing lost
	accepted        // no effect: one notice that says why
	refused         // cannot be: a mistake that says what to do instead
	logicOpen       // chooses or brings lines, so it cannot be passed over
	logicEnd        // the end of such a piece
)

// uwsgiOption is what is known of an option of uWSGI that is not in the table.
type uwsgiOption struct {
	class class
	why   string // reads on from "option NAME has no effect:" or "option NAME"
}

// uwsgiOptions holds the options of uWSGI 2.0.21 and its plugins, and what its documentation names beside.
// An option that gets built moves from here to the table.
var uwsgiOptions = sync.OnceValue(func() map[string]uwsgiOption {
	options := make(map[string]uwsgiOption, 1500)
	for _, group := range []struct {
		names string
		uwsgiOption
	}{
		{laterNames, uwsgiOption{class: later}},
		{silentNames, uwsgiOption{class: silent}},
		{workersNames, uwsgiOption{accepted, "cohort answers each request in a goroutine of one process, so there are no workers to set up"}},
		{datagramsNames, uwsgiOption{accepted, "it is for uWSGI's datagrams; legion-announce and legion-timing are for ours"}},
		{interpreterNames, uwsgiOption{refused, "needs an embedded interpreter, which cohort does not have. Run the app as a daemon: attach-daemon = COMMAND"}},
		{emperorNames, uwsgiOption{refused, "starts further instances, which cohort does not. Run a node for each ini, such as a systemd unit for each"}},
		{jailNames, uwsgiOption{refused, "builds a jail, which cohort does not. Run the node in a container or in a systemd unit that gives it one"}},
		{nativeNames, uwsgiOption{refused, "reaches into uWSGI's own process, which is not there. Run a program of its own: attach-daemon = COMMAND"}},
		{logicOpenNames, uwsgiOption{logicOpen, "write the lines that it stands for, or give them on the command line"}},
		{logicEndNames, uwsgiOption{class: logicEnd}},
	} {
		for name := range strings.FieldsSeq(group.names) {
			options[name] = group.uwsgiOption
		}
	}
	return options
})

func known(name string) uwsgiOption { return uwsgiOptions()[name] }

// knownNames are sorted, so that the nearest of them is always the same one.
var knownNames = sync.OnceValue(func() []string { return slices.Sorted(maps.Keys(uwsgiOptions())) })

// silentNames have nothing to switch here: plugins are built in, files are always sent by the kernel.
const silentNames = `
autoload offload-thread offload-threads plugin-dir plugins-dir`

// workersNames are about processes, threads and coroutines.
const workersNames = `
async asyncio auto-procname catch-exceptions cgi-async-max-attempts cgi-optimize cgi-optimized cheap cheaper cheaper-algo cheaper-algo-list
cheaper-algos-list cheaper-busyness-backlog-alert cheaper-busyness-backlog-multiplier cheaper-busyness-backlog-nonzero cheaper-busyness-backlog-step
cheaper-busyness-max cheaper-busyness-min cheaper-busyness-multiplier cheaper-busyness-penalty cheaper-busyness-verbose cheaper-initial cheaper-list
cheaper-overload cheaper-rss-limit-hard cheaper-rss-limit-soft cheaper-step close-on-exec close-on-exec2 coroae cpu-affinity disable-sendfile
disable-write-exception drop-after-apps drop-after-init enable-threads eventlet evil-reload-on-as evil-reload-on-rss fastrouter-cheap
fastrouter-events fastrouter-processes fastrouter-workers fiber flock flock-wait flock-wait2 flock2 forkbomb-delay ftok gevent
gevent-early-monkey-patch gevent-monkey-patch gevent-wait-for-hub greenlet honour-stdin http-cheap http-events http-processes http-workers idle
ignore-sigpipe ignore-write-errors lazy lazy-apps lock-engine locks loop loop-list loops-list map-socket master-as-root max-apps max-requests
max-worker-lifetime max-worker-lifetime-delta mem-collector-freq memory-report min-worker-lifetime need-app never-swap no-defer-accept no-fd-passing
no-initgroups no-server no-threads-wait pcre-jit persistent-ipcsem processes procname procname-append procname-master procname-prefix
procname-prefix-spaced rawrouter-cheap rawrouter-events rawrouter-processes rawrouter-workers rbtimer reaper reload-on-as reload-on-exception
reload-on-exception-repr reload-on-exception-type reload-on-exception-value reload-on-fd reload-on-rss shared-socket single-interpreter
sslrouter-cheap sslrouter-events sslrouter-processes sslrouter-workers stackless thread-stack-size thread-stacksize threads threads-stack-size
threads-stacksize thunder-lock tornado ugreen ugreen-stacksize undeferred-shared-socket use-abort vhost vhost-host worker-exec worker-exec2
worker-reload-mercy workers write-errors-exception-only write-errors-tolerance`

// datagramsNames are about the packets of uWSGI's legions.
const datagramsNames = `
legion-freq legion-scroll-list-max-size legion-scroll-max-size legion-skew-tolerance legion-tolerance multicast multicast-loop multicast-ttl`

// interpreterNames are about applications inside the server.
const interpreterNames = `
asgi callable clojure-load early-perl early-perl-exec early-psgi eval file gccgo-load gemset go-load go-load-arg home import ini-paste
ini-paste-logged jvm-class jvm-classpath jvm-main-class jvm-opt jwsgi lua lua-cache lua-gc-freq lua-gc-full lua-load lua-shell lua-shell-oneshot
luashell module mono-app mono-config mono-exec mono-exec-as-root mono-gc-freq mono-index mono-key mono-version no-site optimize paste paste-logger
pecan perl-arg perl-args perl-auto-reload perl-auto-reload-ignore perl-exec perl-exec-post-fork perl-local-lib perl-no-die-catch perl-no-plack
perl-version php-allowed-docroot php-allowed-ext php-allowed-script php-app php-app-bypass php-app-qs php-docroot php-dump-config php-exec-after
php-exec-before php-fallback php-fallback-qs php-fallback2 php-index php-ini php-ini-append php-sapi-name php-server-software php-set php-var php-vars
plshell plshell-oneshot post-pymodule-alias pp psgi psgi-enable-psgix-io pump py py-auto-reload py-auto-reload-ignore py-autoreload
py-call-osafterfork py-call-uwsgi-fork-hooks py-executable py-import py-program-name py-programname py-sharedarea py-sys-executable py-tracebacker
pyargv pyhome pyimport pymodule-alias pypy-eval pypy-eval-post-fork pypy-exec pypy-exec-post-fork pypy-home pypy-ini-paste pypy-lib pypy-paste pypy-pp
pypy-python-path pypy-pythonpath pypy-setup pypy-wsgi pypy-wsgi-file pyrun pyshell pyshell-oneshot python python-auto-reload python-autoreload
python-import python-path python-raw python-version python-worker-override python2 pythonpath rack rack-gemset rails rails3 rb-gc-freq rb-lib
rb-require rb-shared-require rb-threads rbrequire rbshell rbshell-oneshot rbthreads reload-os-env ring ring-adapter ring-app ring-load ruby
ruby-gc-freq ruby-require ruby-shared-require ruby-threads rvm rvm-path servlet shared-import shared-py-import shared-pyimport shared-python-import
shared-rb-require shared-ruby-require spooler-import spooler-py-import spooler-pyimport spooler-python-import start_response-nodelay test v8-jsgi
v8-load v8-preemptive v8-protect-stack venv virtualenv web3 wsgi wsgi-accept-buffer wsgi-accept-buffers wsgi-disable-file-wrapper wsgi-env-behavior
wsgi-env-behaviour wsgi-file wsgi-lite wsgi-strict`

// emperorNames are about servers that start servers.
const emperorNames = `
broodlord call-as-emperor call-as-emperor1 call-as-emperor2 call-as-emperor4 call-as-vassal call-as-vassal1 call-as-vassal3 early-emperor emperor
emperor-amqp emperor-broodlord emperor-cap emperor-curse-tolerance emperor-extra-ext emperor-extra-extension emperor-freq emperor-graceful-shutdown
emperor-magic-exec emperor-max-throttle emperor-no-blacklist emperor-nofollow emperor-on-demand-dir emperor-on-demand-directory emperor-on-demand-exec
emperor-on-demand-ext emperor-on-demand-extension emperor-pidfile emperor-procname emperor-proxy-socket emperor-required-heartbeat emperor-stats
emperor-stats-server emperor-throttle emperor-tyrant emperor-tyrant-nofollow emperor-use-clone emperor-wrapper emperor-wrapper-fallback
emperor-wrapper-override exec-as-emperor exec-as-vassal fastrouter-zerg forkptyrouter-zerg heartbeat hook-as-emperor hook-as-vassal hook-emperor-lost
hook-emperor-reload hook-emperor-start hook-emperor-stop http-zerg imperial-monitor-list imperial-monitors-list rawrouter-zerg sslrouter-zerg
start-unsubscribed vassal-cap vassal-set vassal-sos vassal-sos-backlog vassals-cap vassals-include vassals-include-before vassals-inherit
vassals-inherit-before vassals-set vassals-start-hook vassals-stop-hook zerg zerg-fallback zerg-pool zerg-server zergpool`

// jailNames are about namespaces, mounts and control groups.
const jailNames = `
call-in-jail call-post-jail call-pre-jail cgroup cgroup-dir-mode cgroup-opt exec-in-jail exec-post-jail exec-pre-jail hook-in-jail hook-post-jail
hook-pre-jail jailed mount-as-emperor mount-as-root mount-as-vassal mount-asap mount-in-jail mount-post-jail mount-pre-jail namespace
namespace-keep-mount namespace-net ns ns-net pivot-root pivot_root privileged-binary-patch privileged-binary-patch-arg re-fork re-fork-as-root
re-fork-post-jail refork refork-as-root refork-post-jail setns setns-preopen setns-skip setns-socket setns-socket-skip umount-as-emperor
umount-as-root umount-as-vassal umount-asap umount-in-jail umount-post-jail umount-pre-jail unprivileged-binary-patch unprivileged-binary-patch-arg
unshare unshare2 worker-mount`

// nativeNames are about C code and the memory of the server.
const nativeNames = `
after-request-call binary-append-data binary-path build-plugin call-as-root call-as-user call-as-user-atexit call-asap call-post-app call-pre-app
cflags cgi-loadlib dlopen dot-h erlang erlang-cookie extract ksm print-sym print-symbol profiler rrdtool-lib snapshot snapshots symcall
symcall-post-fork symcall-register-rpc symcall-use-next`

// logicOpenNames choose among the lines behind them, or read other files.
const logicOpenNames = `
declare-option declare-option2 for for-glob for-readline for-times if-dir if-directory if-env if-exists if-file if-hostname if-hostname-match
if-not-dir if-not-directory if-not-env if-not-exists if-not-file if-not-hostname if-not-hostname-match if-not-opt if-not-plugin if-not-reload if-opt
if-plugin if-reload ifdir ifenv ifexists iffile ifhostname ifnotdir ifnotenv ifnotexists ifnotfile ifnotopt ifnotplugin ifnotreload ifopt ifplugin
ifreload include inherit ini inject-after inject-before json xml xmlconfig yaml yml`

// logicEndNames end what logicOpenNames begin.
const logicEndNames = `
else end end-for end-if endfor endif`

// laterNames are what cohort is to have, or may.
const laterNames = `
abstract-socket add-cache-item add-gid add-header after-request-hook airbrake-arg alarm alarm-backlog alarm-cheap alarm-curl alarm-fd alarm-freq
alarm-list alarm-listen-queue alarm-log alarm-lq alarm-metric alarm-msg-size alarm-segfault alarms-list allowed-modifiers attach-control-daemon
attach-daemon2 auto-weight backlog-alarm backtrace-depth binsh blacklist body-read-warning brutal-reload-on-fd cache cache-blocksize
cache-expire-freq cache-no-expire cache-report-freed-items cache-store cache-store-sync cache-sync cache-udp-node cache-udp-server
cache-use-last-modified cap carbon carbon-freq carbon-hostname-dots carbon-id carbon-idle-avg carbon-max-retry carbon-name-resolve carbon-no-workers
carbon-resolve-names carbon-retry-delay carbon-root carbon-timeout carbon-use-metrics carddav-mount cgi cgi-allowed-ext cgi-buffer-size
cgi-close-stdin-on-eof cgi-do-not-kill-on-error cgi-from-docroot cgi-helper cgi-index cgi-map-helper cgi-mode cgi-path-info cgi-safe cgi-timeout
cgi-unset chdir chdir2 check-cache check-interval check-mount check-mountpoint check-static check-static-docroot chmod chmod-socket chown-socket
chroot chunked-input-limit chunked-input-timeout clock clock-list clocks-list collect-header command-mode config config-py connect-and-read cron
cron-curl cron-curl-legion cron-harakiri cron-legion cron2 curl-cron curl-cron-legion daemonize daemonize2 daemons-honour-stdin del-header die-on-idle
disable-logging dump-options early-envdir enable-metrics enable-proxy-protocol end-blacklist end-whitelist env envdir error-page-403 error-page-404
error-page-500 exception-handler exec-as-root exec-as-user exec-as-user-atexit exec-asap exec-on-touch exec-post-app exec-pre-app exit exit-on-reload
fallback-config farm fastcgi-modifier1 fastcgi-modifier2 fastcgi-nph-socket fastcgi-socket fastrouter fastrouter-buffer-size fastrouter-fallback
fastrouter-fallback-on-no-key fastrouter-gid fastrouter-gracetime fastrouter-harakiri fastrouter-post-buffering fastrouter-post-buffering-dir
fastrouter-quiet fastrouter-resubscribe fastrouter-resubscribe-bind fastrouter-ss fastrouter-stats fastrouter-stats-server
fastrouter-subscription-fallback-key fastrouter-subscription-server fastrouter-subscription-slot fastrouter-timeout fastrouter-to fastrouter-uid
fastrouter-use-base fastrouter-use-cache fastrouter-use-code-string fastrouter-use-pattern fastrouter-use-socket fd-safe file-serve-mode file-write
fileserve-mode force-cwd force-gateway forkpty-router forkpty-router-cmd forkpty-router-command forkpty-urouter forkptyrouter forkptyrouter-cheap
forkptyrouter-cmd forkptyrouter-cols forkptyrouter-command forkptyrouter-events forkptyrouter-fallback forkptyrouter-harakiri forkptyrouter-processes
forkptyrouter-rows forkptyrouter-ss forkptyrouter-stats forkptyrouter-stats-server forkptyrouter-timeout forkptyrouter-workers forkptyurouter freebind
fs-brutal-reload fs-reload fs-signal gelf geoip-city geoip-country get gid glusterfs-mount glusterfs-timeout graylog2 gridfs-debug gridfs-mount
harakiri harakiri-no-arh harakiri-verbose help honour-range hook-accepting hook-accepting-once hook-accepting1 hook-accepting1-once hook-as-gateway
hook-as-mule hook-as-root hook-as-user hook-as-user-atexit hook-asap hook-master-start hook-post-app hook-post-fork hook-pre-app hook-touch
http-auto-chunked http-auto-gzip http-buffer-size http-chunked-input http-connect-timeout http-enable-proxy-protocol http-fallback http-gid
http-gracetime http-harakiri http-keepalive http-manage-expect http-manage-rtsp http-manage-source http-modifier1 http-modifier2
http-quiet http-raw-body http-resubscribe http-server-name-as-http-host http-socket-modifier1 http-socket-modifier2 http-ss http-stats
http-stats-server http-stud-prefix http-subscription-fallback-key http-subscription-server http-timeout http-to http-to-https http-uid http-use-base
http-use-cache http-use-code-string http-use-pattern http-use-socket http-var http-websockets http11-socket httprouter https https-export-cert
https-session-context https-socket https-socket-modifier1 https-socket-modifier2 https2 ignore-script-name immediate-gid immediate-uid iprint js ldap
ldap-schema ldap-schema-ldif legion-attach-daemon2 legion-cron legion-cron-curl legion-curl-cron legion-smart-attach-daemon2 limit-as limit-nproc
listen listen-queue-alarm load-file-in-cache load-file-in-cache-gzip log-4xx log-5xx log-alarm log-backupname log-big log-date log-drain
log-encoder log-filter log-format log-format-strftime log-ioerror log-master log-master-bufsize log-master-req-stream log-master-stream log-maxsize
log-micros log-prefix log-reopen log-req-encoder log-req-route log-route log-sendfile log-slow log-socket log-syslog log-truncate log-x-forwarded-for
log-zero log-zeromq logcrypto logdate logfile-chmod logfile-chown logformat logformat-strftime logger logger-list logger-req loggers-list logto logto2
lq-alarm manage-script-name master-fifo max-concurrency max-fd max-vars memory-limit metric metric-alarm metric-dir metric-dir-restore
metric-threshold metrics metrics-dir metrics-dir-restore metrics-no-cores mime-file mimefile mode mongo mount mount-check mountpoint-check mule
mule-harakiri mule-msg-size mule-reload-mercy mules nagios no-default-app no-harakiri-after-req-hook no-harakiri-arh no-orphans not-alarm-log
not-log-alarm notfound-log notify notify-socket pam pam-user pause pidfile pidfile2 ping ping-timeout plugin-list plugins-list post-buffering
post-buffering-bufsize print prio propagate-touch protocol pty-connect pty-exec pty-input pty-log pty-no-isig pty-socket pty-uconnect pull-header
puwsgi-socket queue queue-blocksize queue-store queue-store-sync rados-mount rados-timeout raw-modifier1 raw-modifier2 raw-socket rawrouter
rawrouter-buffer-size rawrouter-fallback rawrouter-gracetime rawrouter-harakiri rawrouter-max-retries rawrouter-quiet rawrouter-ss rawrouter-stats
rawrouter-stats-server rawrouter-subscription-server rawrouter-subscription-slot rawrouter-timeout rawrouter-to rawrouter-use-base rawrouter-use-cache
rawrouter-use-code-string rawrouter-use-pattern rawrouter-use-socket rawrouter-xclient reload reload-mercy rem-header remap-modifier req-logger
resolve response-header-collect response-headers-limit resume reuse-port router-list routers-list rpc-max rrdtool rrdtool-freq rsyslog-packet-size
rsyslog-split-messages safe-fd safe-pidfile safe-pidfile2 scgi-modifier1 scgi-modifier2 scgi-nph-socket scgi-socket segfault-alarm sharedarea
show-config shutdown-sockets signal signal-bufsize signal-rbtimer signal-timer signals-bufsize skip-atexit skip-atexit-teardown skip-zero
smart-attach-daemon2 sni sni-dir sni-dir-ciphers sni-regexp snmp snmp-community so-keepalive so-send-timeout so-write-timeout socket socket-protocol
socket-rcvbuf socket-send-timeout socket-sndbuf socket-timeout socket-write-timeout spooler spooler-chdir spooler-external spooler-freq
spooler-frequency spooler-harakiri spooler-max-tasks spooler-ordered spooler-processes spooler-quiet sqlite sqlite3 ssi ssl-enable-sslv3
ssl-enable-tlsv1 ssl-enable3 ssl-option ssl-socket ssl-tmp-dir ssl-verbose ssl-verify-depth sslrouter sslrouter-buffer-size sslrouter-fallback
sslrouter-gracetime sslrouter-harakiri sslrouter-max-retries sslrouter-quiet sslrouter-session-context sslrouter-sni sslrouter-ss sslrouter-stats
sslrouter-stats-server sslrouter-subscription-server sslrouter-timeout sslrouter-to sslrouter-use-base sslrouter-use-cache sslrouter-use-code-string
sslrouter-use-pattern sslrouter-use-socket sslrouter2 st static-cache-paths static-cache-paths-name static-check static-expires static-expires-mtime
static-expires-path-info static-expires-path-info-mtime static-expires-type static-expires-type-mtime static-expires-uri static-expires-uri-mtime
static-gzip static-gzip-all static-gzip-dir static-gzip-ext static-gzip-prefix static-gzip-suffix static-index static-map static-map2 static-safe
static-skip-ext stats stats-http stats-min stats-minified stats-no-cores stats-no-metrics stats-push stats-pusher-default-freq
stats-pushers-default-freq stats-server stop subscribe subscribe-freq subscribe-to subscribe-with-modifier1 subscribe2 subscription-algo
subscription-dotsplit subscription-notify-socket subscription-tolerance subscriptions-credentials-check subscriptions-sign-check
subscriptions-sign-check-tolerance subscriptions-sign-skip-uid subscriptions-use-credentials suspend suwsgi-socket tcp-fast-open tcp-fast-open-client
tcp-fastopen tcp-fastopen-client tcp-nodelay threaded-logger timer touch-chain-reload touch-exec touch-logreopen touch-logrotate touch-mules-reload
touch-reload touch-signal touch-spoolers-reload touch-workers-reload tuntap-device tuntap-device-rule tuntap-router tuntap-router-firewall-in
tuntap-router-firewall-out tuntap-router-route tuntap-router-stats tuntap-use-credentials udp uid umask unenv unique-cron unique-cron-legion
unique-legion-cron unsubscribe-on-graceful-reload upload-progress usage uwsgi-socket vacuum version wait-for-dir wait-for-file wait-for-fs
wait-for-fs-timeout wait-for-iface wait-for-iface-timeout wait-for-interface wait-for-interface-timeout wait-for-mountpoint wait-for-socket
wait-for-socket-timeout wait-iface wait-iface-timeout wait-interface wait-interface-timeout webdav-add-collection-prop webdav-add-collection-prop-comp
webdav-add-collection-prop-href webdav-add-object-prop webdav-add-object-prop-comp webdav-add-object-prop-href webdav-add-option webdav-add-prop
webdav-add-prop-comp webdav-add-prop-href webdav-add-rtype-collection-prop webdav-add-rtype-object-prop webdav-add-rtype-prop webdav-class-directory
webdav-css webdav-div webdav-javascript webdav-js webdav-lock-cache webdav-mount webdav-principal-base webdav-principal-collection-set
webdav-skip-prop webdav-use-xattr websocket-max-size websocket-ping-freq websocket-pong-tolerance websockets-max-size websockets-ping-freq
websockets-pong-tolerance weight whitelist xattr-debug xmldir-codeset xslt-content-type xslt-docroot xslt-ext xslt-stylesheet xslt-var zabbix-template`
