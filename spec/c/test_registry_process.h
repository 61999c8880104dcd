#ifndef LC_TEST_REGISTRY_PROCESS_H
#define LC_TEST_REGISTRY_PROCESS_H

#include "test_registry_support.h"

#define ETCD_PROGRAM "/usr/bin/etcd"

/* Debian's etcd in a folder of its own below /tmp, on free ports. */
struct real_etcd {
  pid_t pid; /* 0: doesn't run */
  char dir[64], url[64];
  uint16_t port, peer_port;
  bool tls; /* certificates in dir: ca.pem, cert.pem, key.pem; clients must show one */
};

void real_init(struct real_etcd *etcd, bool tls);
void real_start(struct real_etcd *etcd); /* returns when it answers */
void real_kill(struct real_etcd *etcd);
void real_wipe(struct real_etcd *etcd);
void real_fini(struct real_etcd *etcd);

/* A request past the proxy; the reply's head and body. */
void real_post(struct real_etcd *etcd, const char *path, const char *body, char out[4096]);
void real_put(struct real_etcd *etcd, const char *address, const char *lease); /* lease: NULL or its number */
void real_delete(struct real_etcd *etcd, const char *address);
/* The text between `"name":"` and the next quote of the kv of `address`; false where it isn't there. */
bool real_field(struct real_etcd *etcd, const char *address, const char *name, char out[64]);

/* Carries bytes to and from a port, each way late by half of delay_ms. */
struct proxy {
  uint16_t port, to;
  char url[64];
  int listener;
  pthread_t thread;
  atomic_uint delay_ms, open;
  atomic_bool cut, frozen; /* cut: connections end at once; frozen: nothing comes through, nor ends */
};

void proxy_start(struct proxy *proxy, uint16_t to);
void proxy_stop(struct proxy *proxy);

#endif
