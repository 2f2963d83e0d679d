/* A device of paho C (its synchronous client); its arguments and what it does: harness/libraries.py. */
#include <MQTTClient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(int good, const char* what, int code) {
  if (good) return;
  fprintf(stderr, "%s: %d\n", what, code);
  exit(1);
}

static void publish(MQTTClient client, int five, const char* topic, const char* text, int qos, int retained) {
  MQTTClient_message message = MQTTClient_message_initializer;
  MQTTClient_deliveryToken token;
  message.payload = (void*)text;
  message.payloadlen = (int)strlen(text);
  message.qos = qos;
  message.retained = retained;
  if (five) {
    message.struct_version = 1;
    MQTTResponse response = MQTTClient_publishMessage5(client, topic, &message, &token);
    must(response.reasonCode == MQTTREASONCODE_SUCCESS, "publish", response.reasonCode);
    MQTTResponse_free(response);
  } else {
    int code = MQTTClient_publishMessage(client, topic, &message, &token);
    must(code == MQTTCLIENT_SUCCESS, "publish", code);
  }
  if (qos > 0) must(MQTTClient_waitForCompletion(client, token, 30000) == 0, "completion", qos);
}

int main(int count, char** given) {
  must(count == 8, "arguments", count);
  const char *host = given[1], *port = given[2], *name = given[4], *ca = given[5];
  const int version = atoi(given[3]), five = version == 5, tls = ca[0] != 0;
  char address[256], id[256], own[256], topic[300], all[300], last[300];
  snprintf(address, sizeof address, "%s://%s:%s", tls ? "ssl" : "tcp", host, port);
  snprintf(id, sizeof id, "said-%s", name);
  snprintf(own, sizeof own, "devices/%s", name);
  snprintf(all, sizeof all, "%s/#", own);
  snprintf(last, sizeof last, "%s/last", own);

  MQTTClient client;
  MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
  create.MQTTVersion = version;
  int code = MQTTClient_createWithOptions(&client, address, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
  must(code == MQTTCLIENT_SUCCESS, "create", code);
  MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
  MQTTClient_connectOptions options5 = MQTTClient_connectOptions_initializer5;
  if (five) options = options5;
  MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
  MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
  char will_topic[300];
  snprintf(will_topic, sizeof will_topic, "%s/will", own);
  will.topicName = will_topic;
  will.message = "gone";
  will.qos = 1;
  options.will = &will;
  options.MQTTVersion = version;
  options.username = tls ? "said" : name;
  options.password = tls ? "secret" : NULL;
  if (tls) {
    ssl.trustStore = ca;
    ssl.keyStore = given[6];
    ssl.privateKey = given[7];
    options.ssl = &ssl;
  }
  if (five) {
    options.cleansession = 0;
    options.cleanstart = 1;
    MQTTResponse response = MQTTClient_connect5(client, &options, NULL, NULL);
    must(response.reasonCode == MQTTREASONCODE_SUCCESS, "connect", response.reasonCode);
    MQTTResponse_free(response);
  } else {
    code = MQTTClient_connect(client, &options);
    must(code == MQTTCLIENT_SUCCESS, "connect", code);
  }
  snprintf(topic, sizeof topic, "%s/kept", own);
  publish(client, five, topic, "kept", 1, 1);
  if (five) {
    MQTTResponse response = MQTTClient_subscribe5(client, all, 2, NULL, NULL);
    must(response.reasonCode == MQTTREASONCODE_GRANTED_QOS_2, "subscribe", response.reasonCode);
    MQTTResponse_free(response);
  } else {
    code = MQTTClient_subscribe(client, all, 2);
    must(code == MQTTCLIENT_SUCCESS, "subscribe", code);
  }
  snprintf(topic, sizeof topic, "%s/up", own);
  publish(client, five, topic, "qos 0", 0, 0);
  publish(client, five, topic, "qos 1", 1, 0);
  publish(client, five, topic, "qos 2", 2, 0);
  publish(client, five, "devices/another/up", "forged", 1, 0);
  publish(client, five, last, "last", 2, 0);
  for (int ended = 0; !ended;) {
    char* from = NULL;
    int length = 0;
    MQTTClient_message* came = NULL;
    code = MQTTClient_receive(client, &from, &length, &came, 30000);
    must(code == MQTTCLIENT_SUCCESS && came != NULL, "receive", code);
    printf("%s %d %d %.*s\n", from, came->qos, came->retained, came->payloadlen, (char*)came->payload);
    ended = strcmp(from, last) == 0;
    MQTTClient_freeMessage(&came);
    MQTTClient_free(from);
  }
  fflush(stdout);
  raise(SIGKILL); /* without a DISCONNECT: the Will is due */
}
