package peer;

import static java.nio.charset.StandardCharsets.UTF_8;

import jakarta.servlet.http.HttpServletRequest;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.web.context.WebServerApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Profile;
import org.springframework.context.event.EventListener;
import org.springframework.http.ResponseEntity;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.core.ProducerFactory;
import org.springframework.kafka.requestreply.ReplyingKafkaTemplate;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestMapping;
import org.springframework.web.bind.annotation.RestController;

/** Sends each request as a record, and answers it with the reply. No thread waits meanwhile. */
@RestController
@Profile("front")
class Gateway {

    /** As long as actix-khp waits by default. */
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private final ReplyingKafkaTemplate<byte[], byte[], byte[]> kafka;
    private final String requests;

    Gateway(ReplyingKafkaTemplate<byte[], byte[], byte[]> kafka, @Value("${REQUESTS}") String requests) {
        this.kafka = kafka;
        this.requests = requests;
    }

    @RequestMapping("/**")
    CompletableFuture<ResponseEntity<byte[]>> call(
            HttpServletRequest request, @RequestBody(required = false) byte[] body) {
        var record = new ProducerRecord<byte[], byte[]>(requests, body);
        record.headers().add(Replier.METHOD, request.getMethod().getBytes(UTF_8));
        var query = request.getQueryString() == null ? "" : "?" + request.getQueryString();
        record.headers().add(Replier.PATH, (request.getRequestURI() + query).getBytes(UTF_8));
        request.getHeaderNames()
                .asIterator()
                .forEachRemaining(name -> record.headers().add(name, request.getHeader(name).getBytes(UTF_8)));
        return kafka.sendAndReceive(record).thenApply(reply -> {
            var status = new String(reply.headers().lastHeader(Replier.STATUS).value(), UTF_8);
            var type = new String(reply.headers().lastHeader("content-type").value(), UTF_8);
            return ResponseEntity.status(Integer.parseInt(status)).header("content-type", type).body(reply.value());
        });
    }

    /** The template, and its reader of replies. */
    @Component
    @Profile("front")
    static class Replies {

        @Bean
        ReplyingKafkaTemplate<byte[], byte[], byte[]> replying(
                ProducerFactory<byte[], byte[]> producers,
                ConcurrentKafkaListenerContainerFactory<byte[], byte[]> containers,
                @Value("${REPLIES}") String replies) {
            var container = containers.createContainer(replies);
            container.getContainerProperties().setGroupId("gateway-" + UUID.randomUUID());
            var template = new ReplyingKafkaTemplate<>(producers, container);
            template.setDefaultReplyTimeout(PATIENCE);
            return template;
        }
    }

    /** Tells the benchmark its port, once a request comes through. */
    @EventListener
    void ready(ApplicationReadyEvent event) throws Exception {
        kafka.waitForAssignment(Duration.ofSeconds(60));
        var probe = new ProducerRecord<byte[], byte[]>(requests, "ready?".getBytes(UTF_8));
        probe.headers().add(Replier.METHOD, "POST".getBytes(UTF_8)).add(Replier.PATH, "/".getBytes(UTF_8));
        kafka.sendAndReceive(probe, Duration.ofSeconds(60)).get();
        var server = ((WebServerApplicationContext) event.getApplicationContext()).getWebServer();
        System.out.println("ready " + server.getPort());
    }
}
